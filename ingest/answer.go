package ingest

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// outcome is the three fields with which every answer begins. An answer with more embeds it first.
type outcome struct {
	ActionStatus string
	ErrorInfo    string
	ErrorCode    Code
}

func (o *outcome) set(code Code, info string) {
	o.ActionStatus, o.ErrorCode, o.ErrorInfo = "OK", code, info
	if code != codeOK {
		o.ActionStatus = "FAIL"
	}
}

// answer is what a handler gives: a struct that embeds outcome first.
type answer interface{ set(Code, string) }

// maxInfo bounds ErrorInfo in bytes: it may quote what the caller sent.
const maxInfo = 400

// failure is the answer to a request that was refused.
func failure(code Code, info string) answer {
	if len(info) > maxInfo {
		cut := maxInfo
		for cut > 0 && !utf8.RuneStart(info[cut]) {
			cut--
		}
		info = info[:cut] + "..."
	}
	o := &outcome{}
	o.set(code, info)
	return o
}

// encode lays out an answer. Names of users and tags are given as they are, without escapes for HTML.
func encode(a answer) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(a); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
