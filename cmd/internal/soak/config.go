package soak

import (
	"errors"
	"fmt"
	"time"
)

// Config is how much is tried, for how long.
type Config struct {
	// Seed decides the schedule.
	Seed uint64
	// Users there are, and Sessions of them that are to be open at once.
	Users, Sessions int
	// Duration of the schedule. Starting before it, and bringing every user online after it, take a little more.
	Duration time.Duration
	// Pushes, Changes and Revocations a second, on average; Changes are calls that change users.
	Pushes, Changes, Revocations float64
	// Removals are accounts that are deleted a second, to be registered again soon, and Kicks those whose sessions are ended.
	Removals, Kicks float64
	// Troubles is the mean time between two processes being disturbed; zero for none.
	Troubles time.Duration
	// Stay is the mean time for which a user is online.
	Stay time.Duration
	// Grace is what the judge grants (Judge.Grace).
	Grace time.Duration
	// Haunting is how long a call that had no answer may still be under way in a process, or on its way to the broker: longer
	// than a call is waited for and a process is stopped, or cut off. Its users are left alone for that time after the repeat.
	Haunting time.Duration
	// Settled is how long an acknowledgement may take to the broker after a trouble: a repeat that comes later is unexplained.
	Settled time.Duration
	// Skew is by how much clocks of processes may be wrong (Judge.Skew).
	Skew time.Duration
	// Progress is the time between two lines of progress.
	Progress time.Duration
}

// Default is a run of ten minutes.
func Default() Config {
	return Config{
		Seed: 1, Users: 3000, Sessions: 1500, Duration: 10 * time.Minute, Pushes: 2, Changes: 8, Revocations: 0.2, Removals: 0.2, Kicks: 0.2,
		Troubles: 5 * time.Second, Stay: time.Minute, Grace: 15 * time.Second, Settled: settled, Haunting: 16 * time.Second, Progress: 10 * time.Second,
	}
}

// Short is a run that ends within a minute, on a small machine. Its seed has a process of every role killed.
func Short() Config {
	return Config{
		Seed: 1002, Users: 300, Sessions: 200, Duration: 25 * time.Second, Pushes: 4, Changes: 8, Revocations: 0.4, Removals: 0.5, Kicks: 0.5,
		Troubles: 1200 * time.Millisecond, Stay: 20 * time.Second, Grace: 8 * time.Second, Settled: settled, Haunting: 16 * time.Second, Progress: 10 * time.Second,
	}
}

// Chaos is a run of ten minutes against three nodes: enough users for ten million pairs, though most of them are not there
// most of the time.
func Chaos() Config {
	return Config{
		Seed: 1, Users: 12_000, Sessions: 2000, Duration: 10 * time.Minute, Pushes: 2, Changes: 8, Revocations: 0.2, Removals: 0.2, Kicks: 0.2,
		Troubles: 4 * time.Second, Stay: time.Minute, Grace: 40 * time.Second, Settled: 40 * time.Second, Haunting: time.Minute, Progress: 10 * time.Second,
	}
}

// ShortChaos is such a run for CI.
func ShortChaos() Config {
	return Config{
		Seed: 1339, Users: 300, Sessions: 200, Duration: 30 * time.Second, Pushes: 4, Changes: 8, Revocations: 0.4, Removals: 0.5, Kicks: 0.5,
		Troubles: 1500 * time.Millisecond, Stay: 20 * time.Second, Grace: 20 * time.Second, Settled: 20 * time.Second, Haunting: 25 * time.Second, Progress: 10 * time.Second,
	}
}

// Validate says what is wrong, in a sentence.
func (c Config) Validate() error {
	switch {
	case c.Users < 10 || c.Users > 1_000_000:
		return fmt.Errorf("there are 10 to 1000000 users, not %d", c.Users)
	case c.Sessions < 1 || c.Sessions > 15_000:
		return fmt.Errorf("there are 1 to 15000 sessions at once, not %d", c.Sessions)
	case c.Duration < time.Second || c.Duration > 24*time.Hour:
		return fmt.Errorf("a run takes 1s to 24h, not %v", c.Duration)
	case c.Pushes <= 0 || c.Changes <= 0 || c.Revocations < 0 || c.Removals < 0 || c.Kicks < 0:
		return errors.New("there must be some pushes and changes a second, and no negative number of anything else")
	case c.Troubles < 0 || c.Troubles > 0 && c.Troubles < 100*time.Millisecond:
		return fmt.Errorf("processes are disturbed every 100ms or less often, or never at 0, not every %v", c.Troubles)
	case c.Stay < time.Second || c.Grace < time.Second || c.Haunting < time.Second || c.Settled < time.Second || c.Progress < time.Second:
		return errors.New("stay, grace, haunting, settled and progress are at least 1s each")
	case c.Skew < 0 || c.Skew > maxSkew:
		return fmt.Errorf("clocks are wrong by at most %v, not by %v", maxSkew, c.Skew)
	}
	return nil
}

// maxSkew leaves the long lifetimes longer than a run, however they are counted.
const maxSkew = time.Hour
