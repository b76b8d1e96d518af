package vendorhttp

import "github.com/carillon-push/carillon/deliver/channel"

// Batch is one Send's tokens and results. It keeps from the vendor what cannot be a token: vendors take lists with
// separators, so that an app that registers two tokens as one would notify somebody else's device.
type Batch struct {
	// Tokens are those that may be sent.
	Tokens  []string
	at      []int
	results []channel.Result
}

// maxToken is longer than any vendor's token.
const maxToken = 512

// NewBatch sorts out the tokens.
func NewBatch(tokens []string) *Batch {
	b := &Batch{
		Tokens: make([]string, 0, len(tokens)), at: make([]int, 0, len(tokens)), results: make([]channel.Result, len(tokens)),
	}
	for i, t := range tokens {
		if !wellFormed(t) {
			b.results[i] = channel.Result{Outcome: channel.Gone, Reason: ReasonMalformed}
			continue
		}
		b.Tokens = append(b.Tokens, t)
		b.at = append(b.at, i)
	}
	return b
}

func wellFormed(token string) bool {
	if token == "" || len(token) > maxToken {
		return false
	}
	for i := range len(token) {
		switch c := token[i]; {
		case c <= ' ', c >= 0x7f, c == ',', c == ';', c == '"', c == '\\':
			return false
		}
	}
	return true
}

// All gives the same result to every token that was sent.
func (b *Batch) All(r channel.Result) []channel.Result {
	for _, i := range b.at {
		b.results[i] = r
	}
	return b.results
}

// Each gives every token that was sent its own.
func (b *Batch) Each(f func(token string) channel.Result) []channel.Result {
	for i, t := range b.Tokens {
		b.results[b.at[i]] = f(t)
	}
	return b.results
}
