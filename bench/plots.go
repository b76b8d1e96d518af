package main

import (
	"strings"

	"github.com/carillon-push/carillon/bench/page"
)

// sizes are the sessions of a fan-out.
const sizes = `([\d,]+ sessions)`

// plots of the sections, by the measurements' names.
var plots = map[string][]page.Plot{
	"fanout": {
		{
			Name: "fanout", Title: "One push to each session", Value: "messages a CPU-second of the server",
			Series: []page.Series{
				page.Ours("deliver/socket", `^deliver/socket: fan-out of one push .* to `+sizes+`, against a bare`),
				page.Ours("carillon serve", `^carillon serve: fan-out of one push .* to `+sizes+`, against a bare`),
				page.Peers("bare sendto", `^carillon serve: fan-out of one push .* to `+sizes+`, against a bare`),
				page.Peers("centrifuge", `^carillon serve: fan-out of one push .* to `+sizes+`, against centrifuge`),
			},
		},
		{
			Name: "burst", Title: "Ten pushes that wait together, to each session", Value: "messages a CPU-second of the server",
			Series: []page.Series{
				page.Ours("deliver/socket", `^deliver/socket: fan-out of 10 pushes .* to `+sizes+`, against a bare`),
				page.Ours("carillon serve", `^carillon serve: fan-out of 10 pushes .* to `+sizes+`, against a bare`),
				page.Peers("bare sendto for each", `^carillon serve: fan-out of 10 pushes .* to `+sizes+`, against a bare`),
				page.Peers("centrifuge, 5 ms", `^carillon serve: fan-out of 10 pushes .* to `+sizes+`, against centrifuge.* 5ms`),
				page.Peers("centrifuge, 100 ms", `^carillon serve: fan-out of 10 pushes .* to `+sizes+`, against centrifuge.* 100ms`),
			},
		},
		{
			Name: "session", Title: "Resident memory an idle session", Value: "bytes", Log: true,
			Series: []page.Series{
				page.Ours("deliver/socket", `^deliver/socket: resident memory an idle session, of `+sizes+`, against centrifuge`),
				page.Ours("carillon serve", `^carillon serve: resident memory an idle session, of `+sizes+`, against centrifuge`),
				page.Peers("centrifuge", `^carillon serve: resident memory an idle session, of `+sizes+`, against centrifuge`),
				page.Ours("carillon serve, TLS", `^carillon serve: resident memory an idle session over TLS, of `+sizes),
			},
		},
	},
	"match": {
		{
			Name: "match", Title: "Whom of 1,000,000 users a condition holds for, p99", Value: "ms", Log: true,
			Series: []page.Series{
				page.Ours("Carillon", `^matching over [^:]*: ([^:]*), the bitmap laid out, p99, against a roaring`),
				page.Peers("roaring bitmap a term", `^matching over [^:]*: ([^:]*), the bitmap laid out, p99, against a roaring`),
			},
		},
		beside("PostgreSQL"), beside("Redis"), beside("DuckDB"),
	},
	"growth": {
		grows("shards", "CPU a push by the number of shards", "ms a push", "shards", "a push"),
		grows("gateways", "CPU a push by the number of gateways", "ms a push", "gateways", "a push"),
		grows("live", "CPU for one more push by how many are live", "ms a push", "live pushes", "for one more push"),
	},
	"logins": {
		{
			Name: "logins", Title: "Logins by what waits for the user", Value: "logins a CPU-second of the server",
			Series: []page.Series{
				page.Ours("Carillon", `^logins with ([\d,]+ pending pushes) each, .* by the service's CPU time`),
				page.Peers("centrifuge", `^logins with ([\d,]+ pending pushes) each, .* by the service's CPU time`),
			},
		},
	},
	"notify": {
		{
			Name: "notify", Title: "Notifications by vendor", Value: "notifications a second and core", Log: true,
			Series: []page.Series{
				page.Ours("Carillon", `^(\w+): notifications a second and core`),
				page.Peers("bare net/http", `^(\w+): notifications a second and core`),
			},
		},
	},
	"traffic": {
		{
			Name: "traffic", Title: "What a push sends through the broker", Value: "MB", Log: true, Over: "shards of a million users", LogOver: true,
			Series: []page.Series{
				page.Ours("to all users", `^a push to all users of .* (\d+) shards, 2 gateways: bytes`),
				page.Ours("to 10 %", `^a push to 10 % of .* (\d+) shards, 2 gateways: bytes`),
				page.Ours("to 1 %", `^a push to 1 % of .* (\d+) shards, 2 gateways: bytes`),
				page.Ours("to one in 10,000", `^a push to one user in 10,000 of .* (\d+) shards, 2 gateways: bytes`),
			},
		},
	},
}

// grows has a line for each role: what its CPU time is by how many there are of one thing.
func grows(name, title, value, of, what string) page.Plot {
	p := page.Plot{Name: "growth-" + name, Title: title, Value: value, Log: true, Over: of, LogOver: true}
	for _, role := range []string{"broker", "ingest process", "matcher", "gateways", "offline worker"} {
		p.Series = append(p.Series, page.Ours(role, `^growth: ([\d,]+) `+strings.TrimSuffix(strings.TrimSuffix(of, "es"), "s")+`(?:e?s)?: CPU of the `+role+` `+what+`$`))
	}
	return p
}

// beside compares with one database, which is given as many users as it can take: another number than the others.
func beside(database string) page.Plot {
	figures := `^matching over [^:]*: ([^:]*), the bitmaps laid out, mean, against ` + database
	return page.Plot{
		Name: "match-" + strings.ToLower(database), Title: "Whom a condition holds for, in the mean, beside " + database, Value: "ms", Log: true,
		Series: []page.Series{page.Ours("Carillon", figures), page.Peers(database, figures)},
	}
}
