package app

import (
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
)

// corsAge is how long a browser may keep what it was told about other origins.
const corsAge = 10 * time.Minute

// newHandler makes the REST interface, on which roles mount theirs. Web pages of the origins may read its answers; without
// any no answer says a word about it. No answer ever depends on cookies, so that credentials are never allowed.
func newHandler(origins []string, log *slog.Logger) *echo.Echo {
	e := echo.New()
	e.HideBanner = true
	e.HTTPErrorHandler = func(err error, c echo.Context) {
		if c.Response().Committed {
			return
		}
		status, info := http.StatusInternalServerError, "internal error: try again"
		if he := (*echo.HTTPError)(nil); errors.As(err, &he) {
			status, info = he.Code, http.StatusText(he.Code)
		} else {
			log.ErrorContext(c.Request().Context(), "a request failed", "err", err)
		}
		refuse(c.Response(), c.Request(), status, info)
	}
	if len(origins) > 0 {
		e.Use(middleware.CORSWithConfig(middleware.CORSConfig{
			AllowOrigins:  origins,
			AllowMethods:  []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete},
			AllowHeaders:  []string{echo.HeaderAuthorization, echo.HeaderContentType, "Idempotency-Key", requestHeader},
			ExposeHeaders: []string{requestHeader},
			MaxAge:        int(corsAge / time.Second),
		}))
	}
	return e
}
