package growth

// constant is a number of the model that was measured: what it is of, and the figure that it comes from.
type constant struct {
	of     string
	value  float64
	unit   string
	figure string
}

// What things cost, on the machine of the figures. CPU is in ms of one of its cores.
var (
	ingestPush         = constant{"ingest, a push", 0.57, "ms", "1 shard: CPU of the ingest process a push"}
	matcherPush        = constant{"matcher, a push", 0.46, "ms", "CPU of the matcher a push, for each shard: without any"}
	matcherShard       = constant{"matcher, a push and shard", 0.092, "ms", "CPU of the matcher a push, for each shard"}
	matcherByte        = constant{"matcher, a megabyte of audiences", 7.3, "ms", "a wide shard, a push to one in ten: CPU of the matcher, less one to all (-long)"}
	brokerPush         = constant{"broker, a push", 2.5, "ms", "CPU of the broker a push, for each shard: without any"}
	brokerShard        = constant{"broker, a push and shard", 1.1, "ms", "CPU of the broker a push, for each shard, less a gateway's part"}
	brokerGateway      = constant{"broker, a push, shard and gateway", 0.33, "ms", "CPU of the broker a push, for each gateway, of 8 shards"}
	brokerByte         = constant{"broker, a megabyte that passes", 1, "ms", "a bound: too little to be seen in a wide shard"}
	gatewayPush        = constant{"gateway, a push", 0.54, "ms", "CPU of the gateways a push, for each gateway, less 8 shards' part"}
	gatewayShard       = constant{"gateway, a push and shard", 0.058, "ms", "CPU of the gateways a push, for each shard"}
	gatewayByte        = constant{"gateway, a megabyte of audiences", 10, "ms", "a wide shard, a push to one in ten: CPU of the gateways, less its sessions' part; from 0 to 28"}
	gatewaySession     = constant{"gateway, a push and session", 0.0066, "ms", "a wide shard, a push to all: CPU of the gateways, of 5,000 sessions"}
	offlinePush        = constant{"offline worker, a push", 0.53, "ms", "CPU of the offline worker a push, for each shard: without any"}
	offlineShard       = constant{"offline worker, a push and shard", 0.087, "ms", "CPU of the offline worker a push, for each shard"}
	offlineByte        = constant{"offline worker, a megabyte of bitmaps", 8.6, "ms", "`pending`: to one account in ten of 1,000,000, seconds until durable"}
	countShard         = constant{"all roles, to count a push once, a shard", 0.57, "ms", "64 shards: CPU of all processes to count a push once"}
	login              = constant{"all roles, a login for which nothing waits", 0.19, "ms", "a wide shard, CPU of all processes a login"}
	calmShard          = constant{"broker, a second without a push, a shard", 0.38, "ms", "CPU of the broker while idle, for each shard"}
	messagesPush       = constant{"messages, a push", 4.2, "", "messages through the broker a push, for each shard: without any"}
	messagesShard      = constant{"messages, a push and shard", 9.0, "", "messages through the broker a push, for each shard, less a gateway's part"}
	messagesGateway    = constant{"messages, a push, shard and gateway", 3.2, "", "messages through the broker a push, for each gateway, of 8 shards"}
	bytesPush          = constant{"bytes, a push", 1.3, "KB", "bytes through the broker a push, for each shard: without any, less receipts of 2,000 sessions"}
	bytesShard         = constant{"bytes beside bitmaps, a push and shard", 2.0, "KB", "bytes through the broker a push, for each shard, less a gateway's part"}
	bytesGateway       = constant{"bytes beside bitmaps, a push, shard and gateway", 0.47, "KB", "bytes through the broker a push, for each gateway, of 8 shards"}
	storedShard        = constant{"disk beside bitmaps, a push and shard", 1.15, "KB", "bytes of the streams a push, for each shard, less a gateway's part"}
	storedGateway      = constant{"disk beside bitmaps, a push, shard and gateway", 0.18, "KB", "bytes of the streams a push, for each gateway, of 8 shards"}
	accountDisk        = constant{"disk, an account with 20 tags and values", 536, "bytes", "a wide shard: bytes of the streams, an account"}
	brokerProcess      = constant{"broker's memory, a process", 45, "MiB", "1 shard: resident memory of the broker, less its accounts"}
	brokerShardMemory  = constant{"broker's memory, a shard", 2.8, "MiB", "resident memory of the broker, for each shard, less its accounts"}
	accountMemory      = constant{"broker's memory, an account's name", 339, "bytes", "a wide shard: memory of the broker, an account's name (-long)"}
	recordMemory       = constant{"broker's memory, an account's record", 326, "bytes", "a wide shard: memory of the broker, an account's record (-long)"}
	matcherProcess     = constant{"matcher's memory, a process", 43, "MiB", "resident memory of the matcher, for each shard: without any"}
	matcherShardMemory = constant{"matcher's memory, a shard", 1.4, "MiB", "resident memory of the matcher, for each shard, less its users"}
	matcherUser        = constant{"matcher's memory, a user with 20 tags and values", 312, "bytes", "a wide shard: resident memory of the matcher, a user (-long)"}
	gatewayProcess     = constant{"gateway's memory, a process", 43.6, "MiB", "resident memory of the gateways, for each gateway"}
	gatewayMemory      = constant{"gateway's memory, a session", 2270, "bytes", "a wide shard, resident memory of the gateways, a session (-long)"}
	socketMemory       = constant{"the kernel's memory, a connection", 4700, "bytes", "the kernel's own, of any server"}
	offlineProcess     = constant{"offline worker's memory, a process", 41.4, "MiB", "resident memory of the offline worker, for each shard: without any"}
	offlineShardMemory = constant{"offline worker's memory, a shard", 0.29, "MiB", "resident memory of the offline worker, for each shard"}
	offlineLive        = constant{"offline worker's memory beside bitmaps, a live push and shard", 1300, "bytes", "resident memory of the offline worker, for each live push, of 8 shards"}
	audienceFirst      = constant{"until the last audience", 1.8, "ms", "from acceptance to the last audience, for each shard: without any"}
	audienceShard      = constant{"until the last audience, a shard", 1.7, "ms", "from acceptance to the last audience, for each shard"}
	sessionLast        = constant{"until the last session, each that one gateway has", 0.0096, "ms", "a wide shard, a push to all: from acceptance to the last session, less the last audience, of 5,000"}
	brokerStart        = constant{"a broker's start, a million accounts", 4.6, "s", "the broker's start of a largest run before"}
	matcherStart       = constant{"a matcher's start from its logs, a million users", 4.2, "s", "`takeover`: from the log, of 1,000,000 users"}
	snapshotStart      = constant{"a matcher's start from a snapshot, a million users", 0.46, "s", "`takeover`: from a snapshot, of 1,000,000 users"}
)

// constants in the order of the page.
var constants = []constant{
	ingestPush, matcherPush, matcherShard, matcherByte, brokerPush, brokerShard, brokerGateway, brokerByte,
	gatewayPush, gatewayShard, gatewayByte, gatewaySession, offlinePush, offlineShard, offlineByte, countShard,
	login, calmShard, messagesPush, messagesShard, messagesGateway, bytesPush, bytesShard, bytesGateway,
	storedShard, storedGateway, accountDisk, brokerProcess, brokerShardMemory, accountMemory, recordMemory,
	matcherProcess, matcherShardMemory, matcherUser, gatewayProcess, gatewayMemory, socketMemory, offlineProcess,
	offlineShardMemory, offlineLive, audienceFirst, audienceShard, sessionLast, brokerStart, matcherStart,
	snapshotStart,
}
