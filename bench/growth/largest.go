package growth

// largest is what a largest run came to (Long's), for docs/scale.md: the constants had been measured before.
var largest = Outcome{
	Memory: Memory{Broker: 1600, Matcher: 605.8, Deliver: 197.2, Offline: 56.57, Disk: 1079e6},
	All: Push{
		Ingest: 0.5355, Broker: 16.15, Matcher: 1.455, Deliver: 117.4, Offline: 0.09889, Messages: 63.64, Bytes: -66.91e3,
		Stored: 40.06e3, Audiences: 17.2, Last: 200.2,
	},
	Some: Push{
		Ingest: 0.6068, Broker: 11.02, Matcher: 1.405, Deliver: 15.23, Offline: 2.03, Messages: 146.7, Bytes: 1803e3,
		Stored: 521.2e3, Audiences: 8.541, Last: 26.77,
	},
	Login: 0.2192, BrokerStart: 7.652, RolesStart: 30.05,
}
