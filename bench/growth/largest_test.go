package growth

// largest is what a largest run came to (Long's), for docs/scale.md: the constants had been measured before.
var largest = Outcome{
	Memory: Memory{Broker: 1564, Matcher: 529.9, Deliver: 193.4, Offline: 54.72, Disk: 1079e6},
	All: Push{
		Ingest: 0.7006, Broker: 19.66, Matcher: 0.844, Deliver: 120.9, Offline: 2.523, Messages: 148, Bytes: 110.5e3,
		Stored: 39.75e3, Audiences: 71.35, Last: 596.3,
	},
	Some: Push{
		Ingest: 0.5741, Broker: 19.84, Matcher: 1.799, Deliver: 17.88, Offline: 3.034, Messages: 144.6, Bytes: 1803e3,
		Stored: 521.3e3, Audiences: 32.91, Last: 82.09,
	},
	Login: 0.2376, BrokerStart: 7.503, RolesStart: 40.3,
}
