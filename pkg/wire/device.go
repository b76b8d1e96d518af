package wire

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/carillon-push/carillon/pkg/push"
)

const (
	devicesVersion    = 1
	tokenOwnerVersion = 1
)

// Bounds of devices. Lengths are in bytes.
const (
	MaxDevices     = 10 // of one user
	MaxDeviceIDLen = 128
	MaxChannelLen  = 32
	MaxTokenLen    = 4 << 10
	MaxPlatformLen = 32
)

// Device is where a vendor takes pushes for one of a user's devices. Its token is a secret: whoever has it and the app's
// credentials can push to the device. However a Device is printed or logged, the token is not.
type Device struct {
	// ID names the device among its user's: the client's own name for it, or TokenHash.
	ID string
	// Channel is the vendor: apns, fcm, webpush, …
	Channel string
	// Token is the vendor's name for the device; of webpush it is the subscription, in JSON.
	Token string
	// Platform is the client's, as a login says it; may be empty.
	Platform string
	// At is when the user first had the device, and Seen when it was last heard of, in unix seconds.
	At, Seen int64
}

// ErrDevice is returned for a device that cannot be registered; the text around it says why.
var ErrDevice = errors.New("not a device")

// Validate says what is wrong (ErrDevice). It repeats none of the fields, since a token may have come in any of them.
func (d *Device) Validate() error {
	switch {
	case d.ID == "" || len(d.ID) > MaxDeviceIDLen:
		return fmt.Errorf("%w: its ID has 1 to %d bytes, not %d", ErrDevice, MaxDeviceIDLen, len(d.ID))
	case !printable(d.ID):
		return fmt.Errorf("%w: its ID has other characters than printable ASCII", ErrDevice)
	case ValidChannel(d.Channel) != nil:
		return ValidChannel(d.Channel)
	case d.Token == "" || len(d.Token) > MaxTokenLen:
		return fmt.Errorf("%w: its token has 1 to %d bytes, not %d", ErrDevice, MaxTokenLen, len(d.Token))
	case len(d.Platform) > MaxPlatformLen:
		return fmt.Errorf("%w: its platform has at most %d bytes, not %d", ErrDevice, MaxPlatformLen, len(d.Platform))
	case !printable(d.Platform):
		return fmt.Errorf("%w: its platform has other characters than printable ASCII", ErrDevice)
	case d.At < 0 || d.Seen < 0:
		return fmt.Errorf("%w: it was seen before 1970", ErrDevice)
	}
	return nil
}

// ValidChannel says what is wrong with the name of a channel (ErrDevice), without repeating it.
func ValidChannel(name string) error {
	if name == "" || len(name) > MaxChannelLen {
		return fmt.Errorf("%w: its channel has 1 to %d bytes, not %d", ErrDevice, MaxChannelLen, len(name))
	}
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
		return fmt.Errorf("%w: its channel has other characters than a-z, 0-9, _ and -", ErrDevice)
	}
	return nil
}

// printable says whether a string is of printable ASCII.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// HasToken says whether the device is the one that the vendor calls so.
func (d *Device) HasToken(channel, token string) bool {
	return d.Token == token && d.Channel == channel
}

// String leaves the token out.
func (d Device) String() string {
	return fmt.Sprintf("device %q of channel %s (platform %q, token withheld)", d.ID, d.Channel, d.Platform)
}

// Format prints String for every verb and flag, of which some would print the fields.
func (d Device) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, d.String()) }

// LogValue is String.
func (d Device) LogValue() slog.Value { return slog.StringValue(d.String()) }

// TokenHash names a token without giving it away, as one subject token of 22 characters: the first 16 bytes of SHA-256
// over the channel, NUL and the token, in unpadded URL-safe base64.
func TokenHash(channel, token string) string {
	sum := sha256.Sum256([]byte(channel + "\x00" + token))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// AppendDevices appends a user's devices, which ascend by ID:
//
//	version 1 | number | each: ID | channel | token | platform (length, bytes each) | at | seen (uvarints)
func AppendDevices(b []byte, devices []Device) []byte {
	b = append(b, devicesVersion)
	b = binary.AppendUvarint(b, uint64(len(devices)))
	for i := range devices {
		d := &devices[i]
		b = appendBytes(b, d.ID)
		b = appendBytes(b, d.Channel)
		b = appendBytes(b, d.Token)
		b = appendBytes(b, d.Platform)
		b = binary.AppendUvarint(b, uint64(d.At))
		b = binary.AppendUvarint(b, uint64(d.Seen))
	}
	return b
}

// DecodeDevices reads what AppendDevices wrote.
func DecodeDevices(b []byte) ([]Device, error) {
	r := reader{b: b}
	r.version(devicesVersion)
	n := r.uvarint("number")
	if n > MaxDevices {
		r.fail("number")
		n = 0
	}
	var devices []Device
	if n > 0 {
		devices = make([]Device, 0, n)
	}
	for range n {
		d := Device{
			ID:       string(r.bytes("ID", MaxDeviceIDLen)),
			Channel:  string(r.bytes("channel", MaxChannelLen)),
			Token:    string(r.bytes("token", MaxTokenLen)),
			Platform: string(r.bytes("platform", MaxPlatformLen)),
			At:       int64(r.uvarint("at")),
			Seen:     int64(r.uvarint("seen")),
		}
		if err := d.Validate(); err != nil {
			r.fail(err.Error())
		}
		if len(devices) > 0 && devices[len(devices)-1].ID >= d.ID {
			r.fail("IDs are not ascending")
		}
		devices = append(devices, d)
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("devices: %w", err)
	}
	return devices, nil
}

// EncodeTokenOwner lays out who has a token, zero being nobody: version 1 | ordinal, as a uvarint.
func EncodeTokenOwner(owner push.Ordinal) []byte {
	return binary.AppendUvarint([]byte{tokenOwnerVersion}, uint64(owner))
}

// DecodeTokenOwner reads what EncodeTokenOwner wrote.
func DecodeTokenOwner(b []byte) (push.Ordinal, error) {
	r := reader{b: b}
	r.version(tokenOwnerVersion)
	owner := push.Ordinal(r.uvarint("ordinal"))
	if err := r.end(); err != nil {
		return 0, fmt.Errorf("owner of a token: %w", err)
	}
	return owner, nil
}
