package growth

// largest is what a largest run came to (Default's), for docs/scale.md: the constants had been measured before.
var largest = Outcome{
	Memory: Memory{Broker: 808.6, Matcher: 349.2, Deliver: 191.5, Offline: 48.68, Disk: 513.1e6},
	All: Push{
		Ingest: 0.6962, Broker: 18.53, Matcher: 1.403, Deliver: 111.9, Offline: 1.807, Messages: 124.8, Bytes: 88.43e3,
		Stored: 40.62e3, Audiences: 8.019, Last: 105.5,
	},
	Some: Push{
		Ingest: 0.7856, Broker: 10.72, Matcher: 1.264, Deliver: 14.48, Offline: 1.974, Messages: 146.8, Bytes: 919.5e3,
		Stored: 268.5e3, Audiences: 5.686, Last: 19.5,
	},
	Login: 0.2596, BrokerStart: 2.201, RolesStart: 4.856,
}
