package apns

import (
	"cmp"
	"encoding/json"

	"github.com/carillon-push/carillon/deliver/channel"
)

// maxPayload is what Apple takes, in bytes.
const maxPayload = 4096

// payload is what the app gets, and the keys that it finds things under.
type payload struct {
	APS aps `json:"aps"`
	// Ext, Task and Seq are the push's. Image is the URL of ApnsInfo.Image: a notification service extension of the app, which
	// mutable-content has Apple's system call, fetches and attaches it.
	Ext   string `json:"ext,omitempty"`
	Task  string `json:"task"`
	Seq   uint64 `json:"seq"`
	Image string `json:"image,omitempty"`
}

type aps struct {
	Alert          alert  `json:"alert"`
	Badge          *int   `json:"badge,omitempty"` // absent: it stays as it is; 0 would remove it
	Sound          string `json:"sound,omitempty"`
	ThreadID       string `json:"thread-id,omitempty"`
	MutableContent int    `json:"mutable-content,omitempty"`
}

type alert struct {
	Title    string `json:"title,omitempty"`
	Subtitle string `json:"subtitle,omitempty"`
	Body     string `json:"body"`
}

// encode is a notice as Apple gets it, its text and title cut to what fits; false when the rest does not.
func encode(n *channel.Notice, badge int) ([]byte, bool) {
	p := payload{
		APS: aps{
			Alert:          alert{Subtitle: n.APNs.SubTitle},
			Sound:          cmp.Or(n.APNs.Sound, "default"),
			ThreadID:       collapse(n),
			MutableContent: n.APNs.MutableContent,
		},
		Ext: n.Ext, Task: string(n.Task), Seq: uint64(n.Seq), Image: n.APNs.Image,
	}
	if n.APNs.BadgeMode != 1 && badge > 0 {
		p.APS.Badge = &badge
	}
	if p.Image != "" {
		p.APS.MutableContent = 1 // or it would be fetched by nobody
	}
	return channel.Fit(maxPayload, cmp.Or(n.APNs.Title, n.Title), n.Text, func(title, text string) ([]byte, error) {
		p.APS.Alert.Title, p.APS.Alert.Body = title, text
		return json.Marshal(p)
	})
}

// collapse is what a repeat of the notice takes the place of the first one by: 64 bytes at most.
func collapse(n *channel.Notice) string { return channel.Cut(string(n.Task), 64, channel.Bytes) }
