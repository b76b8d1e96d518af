package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/carillon-push/carillon/bench/service"
)

// linesTogether is how many users one call of an import from a file is about, as `carillon import` makes them.
const linesTogether = 400

// lines makes new users, each with two attributes and five tags, in one call.
func (c caller) lines(ctx context.Context, first, n int) error {
	type line struct {
		Account    string            `json:"account"`
		Attributes map[string]string `json:"attributes"`
		Tags       []string          `json:"tags"`
	}
	list := make([]line, n)
	for i := range list {
		at := first + i
		list[i] = line{
			Account:    "line-" + strconv.Itoa(at),
			Attributes: map[string]string{"city": "city-" + strconv.Itoa(at%500), "lang": "lang-" + strconv.Itoa(at%20)},
		}
		for t := range 5 {
			list[i].Tags = append(list[i].Tags, "tag-"+strconv.Itoa((at+t*37)%1000))
		}
	}
	body, err := json.Marshal(map[string]any{"accounts": list})
	if err != nil {
		return fmt.Errorf("lay out lines: %w", err)
	}
	sig, err := service.Sign(service.Admin)
	if err != nil {
		return err
	}
	q := url.Values{"sdkappid": {service.App.String()}, "identifier": {service.Admin}, "usersig": {sig}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL+"/v1/accounts?"+q.Encode(), bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("import lines: %w", err)
	}
	resp, err := c.REST.HTTP.Do(req)
	if err != nil {
		return fmt.Errorf("import lines: %w", err)
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("import lines: %w", err)
	}
	if resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("import lines: HTTP %d: %s", resp.StatusCode, said)
	}
	return nil
}
