package growth

import "math"

// Fleet is what the model is asked about: how many there are of everything.
type Fleet struct {
	// Users who have accounts, with twenty tags and values each, and Width of a shard, which is the most users that it has.
	Users, Width float64
	// Sessions that are open, over all gateways, and Gateways, which are processes.
	Sessions, Gateways float64
	// Matchers and Offline are how many processes hold each shard: one, and those that stand by.
	Matchers, Offline float64
	// Replicas of everything that the broker has.
	Replicas float64
}

// Shards that the users are in.
func (f Fleet) Shards() float64 { return math.Ceil(f.Users / f.Width) }

// bitmap is how many bytes it takes to say who of some users, at random, of a shard: two bytes for each, and at most a bit for
// every user; all are a few bytes. The shards' bitmaps are roaring's, which decides so for 65,536 users at a time.
func bitmap(users, of float64) float64 {
	if users >= of {
		return 16 * math.Ceil(of/65536)
	}
	return min(2*users, of/8) + 8*math.Ceil(of/65536)
}

// Audience is how many bytes the bitmaps of all shards have of a push to a share of the users: 1 is all.
func (f Fleet) Audience(share float64) float64 {
	s := f.Shards()
	return s * bitmap(share*f.Users/s, f.Users/s)
}

// Sent is how many bytes the receipts have by which all gateways say whom they sent a push.
func (f Fleet) Sent(share float64) float64 {
	s := f.Shards()
	return s * f.Gateways * bitmap(share*f.Sessions/s/f.Gateways, f.Width)
}

// Push is what one costs all processes of a role together.
type Push struct {
	Ingest, Matcher, Broker, Deliver, Offline float64 // ms of CPU
	Messages                                  float64 // through the broker
	Bytes                                     float64 // through the broker, each way counted
	Stored                                    float64 // bytes that the streams grow by, times the replicas
	Audiences                                 float64 // ms from acceptance to the last audience, with one process of each role
	Last                                      float64 // ms from acceptance to the last session, on two cores that clients share
}

// Push to a share of the users, 1 for all: everybody of them who is online gets it.
func (f Fleet) Push(share float64) Push {
	const mega = 1e6
	s, g := f.Shards(), f.Gateways
	audience, sent, sessions := f.Audience(share), f.Sent(share), share*f.Sessions
	bitmaps := audience*(2+g+f.Offline) + sent*(1+f.Offline) // in, and again as an entry; out to gateways and offline workers
	return Push{
		Ingest:  ingestPush.value,
		Matcher: matcherPush.value + matcherShard.value*s + matcherByte.value*audience/mega,
		Broker:  brokerPush.value + brokerShard.value*s + brokerGateway.value*s*g + brokerByte.value*bitmaps/mega,
		Deliver: gatewayPush.value*g + gatewayShard.value*s*g + gatewayByte.value*(audience*g+sent)/mega +
			gatewaySession.value*sessions,
		Offline:   f.Offline * (offlinePush.value + offlineShard.value*s + offlineByte.value*(audience+sent)/mega),
		Messages:  messagesPush.value + messagesShard.value*s + messagesGateway.value*s*g,
		Bytes:     1000*(bytesPush.value+bytesShard.value*s+bytesGateway.value*s*g) + bitmaps,
		Stored:    f.Replicas * (1000*(storedShard.value*s+storedGateway.value*s*g) + 2*audience + sent),
		Audiences: audienceFirst.value + audienceShard.value*s,
		Last:      audienceFirst.value + audienceShard.value*s + sessionLast.value*sessions,
	}
}

const mebi = 1 << 20

// Memory is what all processes of a role have resident, in MiB, and the broker's streams on disk, in bytes.
type Memory struct {
	Accounts, Records        float64 // of each replica: the one stream of names, and all streams of records
	Broker                   float64 // of a broker alone, which has both
	Matcher, Deliver, Kernel float64
	Offline                  float64
	Disk                     float64 // bytes of the accounts, times the replicas
}

// Memory with so many live pushes, whose bitmaps have so many bytes in all shards together.
func (f Fleet) Memory(live, bitmaps float64) Memory {
	m := Memory{
		Accounts: accountMemory.value * f.Users / mebi,
		Records:  recordMemory.value * f.Users / mebi,
		Matcher:  f.Matchers * (matcherProcess.value + matcherShardMemory.value*f.Shards() + matcherUser.value*f.Users/mebi),
		Deliver:  gatewayProcess.value*f.Gateways + gatewayMemory.value*f.Sessions/mebi,
		Kernel:   socketMemory.value * f.Sessions / mebi,
		Offline:  f.Offline * (offlineProcess.value + offlineShardMemory.value*f.Shards() + (offlineLive.value*live*f.Shards()+bitmaps)/mebi),
		Disk:     f.Replicas * accountDisk.value * f.Users,
	}
	m.Broker = brokerProcess.value + brokerShardMemory.value*f.Shards() + m.Accounts + m.Records
	return m
}
