package fcm

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"

	"github.com/carillon-push/carillon/deliver/channel"
)

// maxMessage is what Google takes, in bytes, keys and values. That it is the JSON without the token that is counted here is
// on the safe side.
const maxMessage = 4096

// message is projects.messages of the HTTP v1 API, but for the token, which goes before the rest.
type message struct {
	Notification notification      `json:"notification"`
	Data         map[string]string `json:"data"`
	Android      android           `json:"android"`
}

type notification struct {
	Title string `json:"title,omitempty"`
	Body  string `json:"body"`
}

type android struct {
	Priority     string              `json:"priority"`
	TTL          string              `json:"ttl,omitempty"`
	Notification androidNotification `json:"notification"`
}

type androidNotification struct {
	ChannelID string `json:"channel_id,omitempty"`
	Sound     string `json:"sound"`
	Tag       string `json:"tag"`
}

// encode is what follows the token in the message's object; false when it is too long and cannot be cut. ttl is negative for
// Google's own, four weeks.
func encode(n *channel.Notice, ttl time.Duration) ([]byte, bool) {
	m := message{
		Data: map[string]string{"task": string(n.Task), "seq": fmt.Sprint(n.Seq)},
		Android: android{
			Priority: "HIGH",
			Notification: androidNotification{
				ChannelID: n.Android.GoogleChannelID, Sound: cmp.Or(n.Android.Sound, "default"), Tag: string(n.Task),
			},
		},
	}
	if n.Ext != "" {
		m.Data["ext"] = n.Ext
	}
	if ttl >= 0 {
		m.Android.TTL = fmt.Sprintf("%ds", ttl/time.Second)
	}
	b, ok := channel.Fit(maxMessage, n.Title, n.Text, func(title, text string) ([]byte, error) {
		m.Notification = notification{title, text}
		return json.Marshal(m)
	})
	if !ok {
		return nil, false
	}
	return b[1:], true
}

// request is the body of messages:send.
func request(token string, rest []byte) []byte {
	quoted, _ := json.Marshal(token) // which fails for no string
	b := make([]byte, 0, len(quoted)+len(rest)+24)
	b = append(b, `{"message":{"token":`...)
	b = append(b, quoted...)
	b = append(b, ',')
	b = append(b, rest...)
	return append(b, '}')
}
