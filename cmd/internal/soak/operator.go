package soak

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// claim takes those of the users whom no other call is changing, and who certainly exist. Whoever claims them releases them.
func (c *caller) claim(users []int) []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.now()
	free := slices.DeleteFunc(slices.Clone(users), func(u int) bool { return c.busy[u] > now || !c.l.Exists(u) })
	for _, u := range free {
		c.busy[u] = never
	}
	return free
}

func (c *caller) release(users []int, until Moment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, u := range users {
		c.busy[u] = until
	}
}

// edit changes users, and repeats that until it is answered.
func (c *caller) edit(ctx context.Context, e *Edit) {
	users := c.claim(e.Users)
	if len(users) == 0 {
		return
	}
	var changes []*Change
	for f, value := range e.Facts {
		changes = append(changes, c.l.Begin(c.clock.now(), users, f, value))
	}
	sure, err := c.repeat(ctx, func() error { return c.send(ctx, e, users) })
	at := c.clock.now()
	switch {
	case err == nil:
		c.l.Done(at, changes...)
	case !errors.Is(err, errUnsure):
		c.l.Odd("a change of users was refused: %v", err)
	}
	if !sure {
		at += c.haunting
	}
	c.release(users, at)
}

// send makes the call once.
func (c *caller) send(ctx context.Context, e *Edit, users []int) error {
	var add, remove, unset []string
	set := map[string]string{}
	for f, value := range e.Facts {
		tag, isTag := strings.CutPrefix(string(f), string(TagFact("")))
		attr := strings.TrimPrefix(string(f), string(AttrFact("")))
		switch {
		case isTag && value != "":
			add = append(add, tag)
		case isTag:
			remove = append(remove, tag)
		case value != "":
			set[attr] = value
		default:
			unset = append(unset, attr)
		}
	}
	var accounts []string
	var perUser []map[string]any
	one := func(field string, value any) {
		for _, u := range users {
			perUser = append(perUser, map[string]any{"To_Account": accountName(u), field: value})
		}
	}
	body := map[string]any{}
	switch e.Via {
	case addTag:
		one("Tags", add)
		body["UserTags"] = perUser
	case removeTag:
		one("Tags", remove)
		body["UserTags"] = perUser
	case removeAllTags:
		for _, u := range users {
			accounts = append(accounts, accountName(u))
		}
		body["To_Account"] = accounts
	case setAttr:
		one("Attrs", set)
		body["UserAttrs"] = perUser
	case removeAttr:
		one("Attrs", unset)
		body["UserAttrs"] = perUser
	default:
		tags, attrs := map[string]any{"add": add, "remove": remove}, map[string]any{"set": set, "remove": unset}
		for _, m := range []map[string]any{tags, attrs} {
			for k, v := range m {
				if list, ok := v.([]string); ok && len(list) == 0 {
					delete(m, k)
				}
			}
		}
		return c.native(ctx, http.MethodPatch, "/v1/accounts/"+accountName(users[0]), nil, map[string]any{"tags": tags, "attributes": attrs}, nil, http.StatusOK)
	}
	_, err := c.command(ctx, "all_member_push/"+e.Via, body)
	return err
}

// native makes one call of the native interface.
func (c *caller) native(ctx context.Context, method, path string, header map[string]string, body, answer any, want int) error {
	var raw json.RawMessage
	status, err := c.do(ctx, method, path, header, body, &raw)
	switch {
	case err != nil:
		return err
	case status == http.StatusTooManyRequests:
		return errUnsure
	case status != want:
		return fmt.Errorf("%s %s: HTTP %d %.300s", method, path, status, raw)
	case answer == nil:
		return nil
	}
	return json.Unmarshal(raw, answer)
}

// populate registers nine users of ten, and gives all of those tags and attributes. The others register by logging in.
func (c *caller) populate(ctx context.Context, cfg Config) error {
	r := cfg.rand(6)
	slots := map[string]string{}
	for i, name := range attrNames {
		slots[fmt.Sprint(i)] = name
	}
	_, err := c.repeat(ctx, func() error {
		_, err := c.command(ctx, "all_member_push/im_set_attr_name", map[string]any{"AttrNames": slots})
		return err
	})
	if err != nil {
		return fmt.Errorf("name the attributes: %w", err)
	}
	users := make([]int, cfg.Users*9/10)
	for i := range users {
		users[i] = i
	}
	for batch := range slices.Chunk(users, 100) {
		change := c.l.Begin(c.clock.now(), batch, Exists, "1")
		if _, err := c.repeat(ctx, func() error { return c.register(ctx, batch) }); err != nil {
			return fmt.Errorf("register users: %w", err)
		}
		c.l.Done(c.clock.now(), change)
	}
	having := map[Fact]map[string][]int{} // fact, value → users
	give := func(f Fact, value string, u int) {
		if having[f] == nil {
			having[f] = map[string][]int{}
		}
		having[f][value] = append(having[f][value], u)
	}
	for _, u := range users {
		for range r.IntN(7) {
			give(TagFact(drawTag(r)), "1", u)
		}
		for range r.IntN(4) {
			name, value := drawAttr(r)
			give(AttrFact(name), value, u)
		}
	}
	return c.assign(ctx, having)
}

// assign gives many users a value each. One after the other, as two changes of a fact must not overlap.
func (c *caller) assign(ctx context.Context, having map[Fact]map[string][]int) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for f, values := range having {
		via := setAttr
		if strings.HasPrefix(string(f), string(TagFact(""))) {
			via = addTag
		}
		g.Go(func() error {
			for _, value := range slices.Sorted(maps.Keys(values)) {
				users := values[value]
				slices.Sort(users)
				for batch := range slices.Chunk(slices.Compact(users), 100) {
					change := c.l.Begin(c.clock.now(), batch, f, value)
					e := &Edit{Via: via, Facts: map[Fact]string{f: value}}
					if _, err := c.repeat(ctx, func() error { return c.send(ctx, e, batch) }); err != nil {
						return fmt.Errorf("give users their first tags and attributes: %w", err)
					}
					c.l.Done(c.clock.now(), change)
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// register makes the call once.
func (c *caller) register(ctx context.Context, users []int) error {
	accounts := make([]string, len(users))
	for i, u := range users {
		accounts[i] = accountName(u)
	}
	_, err := c.command(ctx, "im_open_login_svc/multiaccount_import", map[string]any{"Accounts": accounts})
	return err
}

// pushOnce is how long after the first attempt a push of the contract may be repeated to be recognised as the same.
const pushOnce = 900 * time.Millisecond

// body is a push's message, of a length that differs. Its number is read back by number.
func body(n int) json.RawMessage {
	fill := strings.Repeat("x", rand.New(rand.NewPCG(uint64(n), 0)).IntN(300))
	return json.RawMessage(fmt.Sprintf(`[{"MsgType":"TIMTextElem","MsgContent":{"Text":"push %d %s"}}]`, n, fill))
}

func number(b json.RawMessage) (n int, err error) {
	var elements []struct{ MsgContent struct{ Text string } }
	if err := json.Unmarshal(b, &elements); err != nil {
		return 0, err
	}
	if len(elements) != 1 {
		return 0, fmt.Errorf("%d elements", len(elements))
	}
	_, err = fmt.Sscanf(elements[0].MsgContent.Text, "push %d ", &n)
	if err == nil && string(body(n)) != string(b) {
		err = errors.New("not byte for byte what was sent")
	}
	return n, err
}

// push accepts a push, and watches until it is evaluated.
func (c *caller) push(ctx context.Context, cfg Config, p *Push) {
	c.l.BeginPush(c.clock.now(), p)
	task, err := "", error(nil)
	if p.Native {
		task, err = c.pushNative(ctx, cfg, p)
	} else {
		task, err = c.pushContract(ctx, p)
	}
	switch {
	case err == nil:
		c.l.Accepted(c.clock.now(), p, task)
		c.watch(ctx, p, task)
	case !errors.Is(err, errUnsure):
		c.l.Odd("push %d was refused: %v", p.N, err)
	}
}

func (c *caller) pushNative(ctx context.Context, cfg Config, p *Push) (task string, err error) {
	request := map[string]any{"body": body(p.N), "lifetime": int(p.Lifetime.Seconds())}
	if cond := p.Condition.native(); cond != nil {
		request["condition"] = cond
	}
	header := map[string]string{"Idempotency-Key": fmt.Sprintf("soak %d %d", cfg.Seed, p.N)}
	var answer struct{ ID string }
	_, err = c.repeat(ctx, func() error {
		return c.native(ctx, http.MethodPost, "/v1/pushes", header, request, &answer, http.StatusAccepted)
	})
	return answer.ID, err
}

func (c *caller) pushContract(ctx context.Context, p *Push) (task string, err error) {
	request := map[string]any{"MsgRandom": uint32(p.N), "MsgLifeTime": int(p.Lifetime.Seconds()), "MsgBody": body(p.N)}
	cond, ok := p.Condition.contract()
	if !ok {
		return "", fmt.Errorf("%v cannot be said in the contract", p.Condition)
	}
	if cond != nil {
		request["Condition"] = cond
	}
	begun := c.clock.now()
	for {
		o, err := c.command(ctx, "all_member_push/im_push", request)
		if err == nil || !errors.Is(err, errUnsure) || ctx.Err() != nil || c.clock.now()-begun > pushOnce {
			return o.TaskID, err
		}
		pause(ctx, 100*time.Millisecond)
	}
}

// watch asks until every shard has its part of the audience.
func (c *caller) watch(ctx context.Context, p *Push, task string) {
	for wait := 50 * time.Millisecond; ctx.Err() == nil; wait = min(2*wait, time.Second) {
		var state struct {
			Evaluated bool
			Matched   uint64
		}
		err := c.native(ctx, http.MethodGet, "/v1/pushes/"+task, nil, nil, &state, http.StatusOK)
		if err == nil && state.Evaluated {
			c.l.Evaluated(c.clock.now(), p, state.Matched)
			return
		}
		if err != nil && !errors.Is(err, errUnsure) {
			c.l.Odd("ask for push %d: %v", p.N, err)
			return
		}
		pause(ctx, wait)
	}
}

// canRevoke says whether the service has revocations: an older one does not know the method.
func (c *caller) canRevoke(ctx context.Context) (bool, error) {
	status := 0
	_, err := c.repeat(ctx, func() (err error) {
		status, err = c.do(ctx, http.MethodDelete, fmt.Sprintf("/v1/pushes/%d-%d", c.site.App, 1<<40), nil, nil, nil)
		return err
	})
	return status != http.StatusMethodNotAllowed, err
}

// revoke cancels a push that was accepted, and repeats that until it is answered.
func (c *caller) revoke(ctx context.Context, n int) {
	p, task := c.l.Task(n)
	if task == "" || !c.l.BeginRevoke(c.clock.now(), p) {
		return
	}
	_, err := c.repeat(ctx, func() error {
		status, err := c.do(ctx, http.MethodDelete, "/v1/pushes/"+task, nil, nil, nil)
		switch {
		case err != nil:
			return err
		case status == http.StatusOK:
			return nil
		case status == http.StatusAccepted, status == http.StatusTooManyRequests: // it is under way, or was not begun
			return errUnsure
		}
		return fmt.Errorf("HTTP %d", status)
	})
	switch {
	case err == nil:
		c.l.Revoked(c.clock.now(), p)
	case !errors.Is(err, errUnsure):
		c.l.Odd("the revocation of push %d was refused: %v", n, err)
	}
}
