package ingest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/carillon-push/carillon/pkg/history"
	"github.com/carillon-push/carillon/pkg/push"
)

// Limits of the tracing commands.
const (
	maxTasks = 5
	maxSpan  = 30 * 24 * time.Hour
)

// channelStatistics is what one channel has done for a push: the sessions, or a vendor's. Of a vendor's it is known whose
// notification was taken, and no more.
type channelStatistics struct {
	Platform       string
	TotalCount     uint64
	SentCount      uint64
	DeliveredCount uint64
	ClickCount     uint64
}

type taskStatistics struct {
	TaskID             push.TaskID
	TotalCount         uint64
	SentCount          uint64
	DeliveredCount     uint64
	ClickCount         uint64
	PlatformStatistics []channelStatistics
}

// taskError is a task that there is nothing to tell of.
type taskError struct {
	TaskID    push.TaskID
	ErrorInfo string
}

type statisticsAnswer struct {
	outcome
	Results   []taskStatistics
	ErrorList []taskError `json:",omitempty"`
}

// sessionsPlatform is how the sessions are called among the channels.
const sessionsPlatform = "Session"

// pushStatistics is all_member_push_statistics.
func (i *Ingest) pushStatistics(ctx context.Context, c *call) (answer, error) {
	out := &statisticsAnswer{Results: []taskStatistics{}}
	var err error
	out.ErrorList, err = i.tasks(ctx, c, func(id push.TaskID, t *history.Tally, channels map[string]history.Channel) {
		of := channelStatistics{sessionsPlatform, t.Audience, t.Received + t.Sent, t.Received, t.Opened}
		all := []channelStatistics{of}
		for _, name := range slices.Sorted(maps.Keys(channels)) {
			all = append(all, channelStatistics{Platform: name, TotalCount: channels[name].Users, SentCount: channels[name].Sent})
		}
		out.Results = append(out.Results, taskStatistics{id, of.TotalCount, of.SentCount, of.DeliveredCount, of.ClickCount, all})
	})
	return out, err
}

// lossReason counts those for whom the same thing went wrong, or has still to go right.
type lossReason struct {
	Reason string
	// Detail is the vendor's own word for why it refused.
	Detail string `json:",omitempty"`
	Count  uint64
}

// channelLoss counts those who were to be notified through a vendor and were not. Who had acknowledged the push by then is
// no loss.
type channelLoss struct {
	Platform   string
	TotalCount uint64
	LossCount  uint64
	Reasons    []lossReason
}

type taskLoss struct {
	TaskID     push.TaskID
	TotalCount uint64
	// LossCount are all who have not acknowledged the push: the sum of the reasons.
	LossCount uint64
	Reasons   []lossReason
	// PlatformLoss has the vendors' channels that the push went to.
	PlatformLoss []channelLoss `json:",omitempty"`
}

type lossAnswer struct {
	outcome
	Results   []taskLoss
	ErrorList []taskError `json:",omitempty"`
}

// pushLoss is all_member_push_loss. Whom the condition did not hold for is no loss.
func (i *Ingest) pushLoss(ctx context.Context, c *call) (answer, error) {
	out := &lossAnswer{Results: []taskLoss{}}
	var err error
	out.ErrorList, err = i.tasks(ctx, c, func(id push.TaskID, t *history.Tally, channels map[string]history.Channel) {
		of := taskLoss{TaskID: id, TotalCount: t.Audience, LossCount: t.Audience - t.Received, Reasons: []lossReason{
			{"Pending", "", t.Pending}, {"Unacknowledged", "", t.Sent}, {"Expired", "", t.Expired}, {"Offline", "", t.Offline},
			{"Revoked", "", t.Withheld},
		}}
		for _, name := range slices.Sorted(maps.Keys(channels)) {
			of.PlatformLoss = append(of.PlatformLoss, lossOf(name, channels[name]))
		}
		out.Results = append(out.Results, of)
	})
	return out, err
}

func lossOf(name string, c history.Channel) channelLoss {
	of := channelLoss{name, c.Users, c.Users - c.Sent - c.Received, []lossReason{
		{"Waiting", "", c.Open}, {"NoDevice", "", c.NoDevice}, {"TokenGone", "", c.Gone}, {"Expired", "", c.Expired}, {"Revoked", "", c.Revoked},
	}}
	for _, reason := range slices.Sorted(maps.Keys(c.Refused)) {
		of.Reasons = append(of.Reasons, lossReason{"Refused", reason, c.Refused[reason]})
	}
	return of
}

// tasks reads StartTime, EndTime and TaskID, and hands the counts of each push that was accepted between to handle. The
// others are told of.
func (i *Ingest) tasks(ctx context.Context, c *call, handle func(push.TaskID, *history.Tally, map[string]history.Channel)) ([]taskError, error) {
	start, err := c.body.get("StartTime").second()
	if err != nil {
		return nil, err
	}
	end, err := c.body.get("EndTime").second()
	if err != nil {
		return nil, err
	}
	if end.Before(start) || end.Sub(start) > maxSpan {
		return nil, &fieldError{"EndTime", "not between StartTime and 30 days after it"}
	}
	items, err := c.body.get("TaskID").some(maxTasks, codeBodyPush)
	if err != nil {
		return nil, err
	}
	var ids []push.TaskID
	for _, item := range items {
		id, err := item.text()
		if err != nil {
			return nil, err
		}
		ids = append(ids, push.TaskID(id))
	}
	var missing []taskError
	for _, id := range ids {
		p, err := i.known(ctx, c, id)
		if err == nil && (p.At.Before(start) || p.At.After(end.Add(time.Second))) {
			missing = append(missing, taskError{id, "it was not accepted between StartTime and EndTime"})
			continue
		}
		var t *history.Tally
		var channels map[string]history.Channel
		if err == nil {
			t, err = i.history.Tally(ctx, p.Push)
		}
		if err == nil {
			channels, err = i.history.Channels(ctx, p.Push)
		}
		if errors.Is(err, history.ErrNoPush) {
			missing = append(missing, taskError{id, err.Error()})
			continue
		}
		if err != nil {
			return nil, err
		}
		handle(id, t, channels)
	}
	return missing, nil
}

// known gives the push of a TaskID, also one of which only the counts are kept; history.ErrNoPush when the app has none.
func (i *Ingest) known(ctx context.Context, c *call, id push.TaskID) (history.Known, error) {
	app, seq, err := id.Parse()
	if err != nil || app != c.app.ID {
		return history.Known{}, history.ErrNoPush
	}
	return i.history.Know(ctx, app, seq)
}

// task gives the push of a TaskID from the logs, history.ErrNoPush when they have none.
func (i *Ingest) task(ctx context.Context, c *call, id push.TaskID) (*push.Push, error) {
	app, seq, err := id.Parse()
	if err != nil || app != c.app.ID {
		return nil, history.ErrNoPush
	}
	return i.history.Push(ctx, app, seq)
}

// second reads a unix time in seconds.
func (v value) second() (time.Time, error) {
	n, err := strconv.ParseUint(string(v.raw), 10, 32)
	if err != nil {
		return time.Time{}, v.wrong("a time in seconds since 1970")
	}
	return time.Unix(int64(n), 0), nil
}

// traceEvent is one thing that the logs hold of a push and a user.
type traceEvent struct {
	// Time in unix milliseconds.
	Time   int64
	Event  string
	Detail string
}

type traceClause struct {
	Clause string
	Depth  int
	// Holds is yes, no or unknown.
	Holds string
}

type traceAnswer struct {
	outcome
	TaskID  push.TaskID
	UserID  string
	Outcome string
	Why     string
	Clauses []traceClause

	InstanceTrace []traceEvent
}

// pushTrace is all_member_push_trace.
func (i *Ingest) pushTrace(ctx context.Context, c *call) (answer, error) {
	id, err := c.body.get("TaskID").text()
	if err != nil {
		return nil, err
	}
	user := c.body.get("UserID")
	name, err := user.account()
	if err == nil {
		err = push.ValidAccount(name)
	}
	if err != nil {
		return nil, &fieldError{user.path, err.Error()}
	}
	p, err := i.task(ctx, c, push.TaskID(id))
	var t *history.Trace
	if err == nil {
		t, err = i.history.Trace(ctx, p.App, p.Seq, name)
	}
	if errors.Is(err, history.ErrNoPush) {
		return nil, refuse(codeBodyPush, fmt.Sprintf("TaskID: %v", err))
	}
	if err != nil {
		return nil, err
	}
	out := &traceAnswer{
		TaskID: t.ID, UserID: name, Outcome: string(t.Outcome), Why: t.Why,
		Clauses: []traceClause{}, InstanceTrace: []traceEvent{},
	}
	for _, c := range t.Clauses {
		holds := "unknown"
		if c.Holds != nil {
			holds = map[bool]string{true: "yes", false: "no"}[*c.Holds]
		}
		out.Clauses = append(out.Clauses, traceClause{c.Text, c.Depth, holds})
	}
	for _, e := range t.Events {
		out.InstanceTrace = append(out.InstanceTrace, traceEvent{e.At.UnixMilli(), string(e.Kind), e.Text})
	}
	return out, nil
}
