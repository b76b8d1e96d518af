package native

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"sync"

	"github.com/labstack/echo/v4"
)

// openapi is the description of this package, OpenAPI 3.1. Tests hold it to the operations and to what they answer.
//
//go:embed openapi.json
var openapi []byte

//go:embed docs.html
var docs embed.FS

// pages are what is served to anybody, by path.
func pages() map[string]echo.HandlerFunc {
	page := sync.OnceValues(func() ([]byte, error) { return docsPage(openapi) })
	return map[string]echo.HandlerFunc{
		"/v1/openapi.json": func(c echo.Context) error { return c.Blob(http.StatusOK, "application/json", openapi) },
		"/v1/docs": func(c echo.Context) error {
			html, err := page()
			if err != nil {
				return err
			}
			c.Response().Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
			return c.HTMLBlob(http.StatusOK, html)
		},
	}
}

// description is what the page shows of openapi.json. Paths and components keep the order of their names.
type description struct {
	Info struct{ Title, Description string }

	Paths      map[string]map[string]pathOperation
	Components struct {
		Schemas   map[string]any
		Responses map[string]struct{ Description string }
	}
}

type pathOperation struct {
	OperationID string `json:"operationId"`
	Summary     string
	Description string
	Role        string `json:"x-role"`
	Parameters  []struct {
		Name, In, Description string
		Required              bool
	}
	RequestBody *struct {
		Content map[string]struct {
			Schema   any
			Examples map[string]struct {
				Summary string
				Value   any
			}
		}
	} `json:"requestBody"`
	Responses map[string]struct {
		Ref         string `json:"$ref"`
		Description string
	}
}

// docsPage makes a page of the description, whole in itself: it loads nothing.
func docsPage(raw []byte) ([]byte, error) {
	var d description
	if err := json.Unmarshal(raw, &d); err != nil {
		return nil, fmt.Errorf("read openapi.json: %w", err)
	}
	t, err := template.New("docs.html").Funcs(template.FuncMap{
		"upper": strings.ToUpper,
		"response": func(ref string) string {
			return d.Components.Responses[ref[strings.LastIndex(ref, "/")+1:]].Description
		},
		"indent": func(v any) (string, error) {
			var b bytes.Buffer
			e := json.NewEncoder(&b)
			e.SetEscapeHTML(false)
			e.SetIndent("", "  ")
			err := e.Encode(v)
			return b.String(), err
		},
	}).ParseFS(docs, "docs.html")
	if err != nil {
		return nil, fmt.Errorf("read docs.html: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, d); err != nil {
		return nil, fmt.Errorf("make the page of openapi.json: %w", err)
	}
	return b.Bytes(), nil
}
