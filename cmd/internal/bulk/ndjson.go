package bulk

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Members of a line of NDJSON, and columns of CSV.
const (
	accountMember    = "account"
	base64Member     = "accountBase64"
	attributesMember = "attributes"
	tagsMember       = "tags"
	devicesMember    = "devices"
)

// parseNDJSON reads {"account":"u1","attributes":{"city":"Shenzhen"},"tags":["a","b"]}. An account that is not UTF-8 stands
// in accountBase64 instead; devices are {"channel":"apns","token":"…","device":"phone","platform":"iOS"}. A member that is null counts as absent, and so does an attribute; one that is not known is an
// error, since it may be one of these misspelt. A value may be a number or a boolean: its JSON text is taken.
func parseNDJSON(text []byte) (User, error) {
	var u User
	if !utf8.Valid(text) {
		return u, errNotUTF8
	}
	if loneSurrogate(text) {
		return u, errors.New(`a \u escape is half of a character`)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil || members == nil {
		return u, errors.New("not a JSON object")
	}
	var account, encoded *string
	var attributes map[string]json.RawMessage
	for name, raw := range members {
		var into any
		want := "a string"
		switch name {
		case accountMember:
			into = &account
		case base64Member:
			into = &encoded
		case attributesMember:
			into, want = &attributes, "an object"
		case tagsMember:
			into, want = &u.Tags, "an array of strings"
		case devicesMember:
			var err error
			if u.Devices, err = devicesOf(raw); err != nil {
				return u, err
			}
			continue
		default:
			return u, fmt.Errorf("unknown member %s", quote(name))
		}
		if json.Unmarshal(raw, into) != nil {
			return u, fmt.Errorf("%s: not %s", name, want)
		}
	}
	var err error
	if u.Account, err = accountOf(account, encoded); err != nil {
		return u, err
	}
	for name, raw := range attributes {
		value, err := scalar(raw)
		if err != nil {
			return u, fmt.Errorf("attribute %s: %w", quote(name), err)
		}
		if value == nil {
			continue
		}
		if u.Attributes == nil {
			u.Attributes = make(map[string]string, len(attributes))
		}
		u.Attributes[name] = *value
	}
	return u, nil
}

// devicesOf reads the devices. An error shows nothing of them, since a token may have come in any member.
func devicesOf(raw json.RawMessage) (devices []Device, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if d.Decode(&devices) != nil {
		return nil, fmt.Errorf("%s: not an array of objects with channel, token, device and platform, all strings", devicesMember)
	}
	return devices, nil
}

// accountOf takes the account from one of the two ways to give it.
func accountOf(plain, encoded *string) (string, error) {
	switch {
	case plain != nil && encoded != nil:
		return "", fmt.Errorf("both %s and %s are given", accountMember, base64Member)
	case plain != nil:
		return *plain, nil
	case encoded != nil:
		raw, err := base64.StdEncoding.Strict().DecodeString(*encoded)
		if err != nil {
			return "", fmt.Errorf("%s: not base64", base64Member)
		}
		return string(raw), nil
	}
	return "", errors.New("no account")
}

// scalar is an attribute's value as a text; nil for null.
func scalar(raw json.RawMessage) (*string, error) {
	raw = bytes.TrimSpace(raw)
	switch raw[0] {
	case '{', '[':
		return nil, errors.New("not a string, a number or a boolean")
	case '"':
		var text string
		err := json.Unmarshal(raw, &text)
		return &text, err
	case 'n':
		return nil, nil
	}
	text := string(raw)
	return &text, nil
}

// loneSurrogate says whether an escape of the JSON text is half of a pair. The decoder would put another character in its
// place, and so name another user than was meant.
func loneSurrogate(text []byte) bool {
	for {
		i := bytes.IndexByte(text, '\\')
		if i < 0 || i+1 >= len(text) {
			return false
		}
		text = text[i:]
		switch unit := escape(text); {
		case unit < 0:
			text = text[2:] // \n and the like
		case unit>>10 == 0xD800>>10:
			if len(text) < 12 || escape(text[6:])>>10 != 0xDC00>>10 {
				return true
			}
			text = text[12:]
		case unit>>10 == 0xDC00>>10:
			return true
		default:
			text = text[6:]
		}
	}
}

// escape is the UTF-16 unit of the \u escape with which the text begins, or -1.
func escape(text []byte) int {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return -1
	}
	unit := 0
	for _, c := range text[2:6] {
		switch {
		case '0' <= c && c <= '9':
			unit = unit<<4 | int(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			unit = unit<<4 | int(c|0x20-'a'+10)
		default:
			return -1
		}
	}
	return unit
}

// ndjsonUser is a line as it is written.
type ndjsonUser struct {
	Account       *string           `json:"account,omitempty"`
	AccountBase64 []byte            `json:"accountBase64,omitempty"`
	Attributes    map[string]string `json:"attributes,omitempty"`
	Tags          []string          `json:"tags,omitempty"`
}

// appendNDJSON appends the user's line; parseNDJSON gives the same user back.
func appendNDJSON(to []byte, u *User) ([]byte, error) {
	line := ndjsonUser{Attributes: u.Attributes, Tags: u.Tags}
	if utf8.ValidString(u.Account) {
		line.Account = &u.Account
	} else {
		line.AccountBase64 = []byte(u.Account)
	}
	b := bytes.NewBuffer(to)
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	err := e.Encode(line)
	return b.Bytes(), err
}
