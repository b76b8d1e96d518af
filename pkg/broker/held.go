package broker

import "github.com/prometheus/client_golang/prometheus"

// What a member is to a shard that it holds, a closed set: the first in rank, one that stands by, or one that will let go
// once another does the work.
const (
	placeFirst   = "first"
	placeStandby = "standby"
	placeLeaving = "leaving"
)

// held is how many shards are held now, by what this member is to them.
func (r *ShardRunner) held() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := map[string]int{placeFirst: 0, placeStandby: 0, placeLeaving: 0}
	for h := range r.holds {
		switch rank, _ := h.Rank(); {
		case rank == 0:
			n[placeFirst]++
		case rank <= r.cfg.Standby:
			n[placeStandby]++
		default:
			n[placeLeaving]++
		}
	}
	return n
}

// Collector is a metric of how many shards are held here. Its label is the place: first, standby, or leaving.
func (r *ShardRunner) Collector(name, help string) prometheus.Collector {
	return heldMetric{r, prometheus.NewDesc(name, help, []string{"place"}, nil)}
}

// MembersGauge is a metric of how many members of the role this one knows, itself among them, and 0 before its first look.
func (r *ShardRunner) MembersGauge(name string) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: name, Help: "Processes of the role that this one knows, itself among them; 0 before its first look.",
	}, func() float64 { ids, _ := r.member.Members(); return float64(len(ids)) })
}

// BehindGauge is a metric of how many shards and apps Ready waits for.
func (r *ShardRunner) BehindGauge(name string) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: name, Help: "Shards and apps whose logs are still being read here before their work begins.",
	}, func() float64 { return float64(r.behind.Load()) })
}

type heldMetric struct {
	r    *ShardRunner
	desc *prometheus.Desc
}

func (m heldMetric) Describe(ch chan<- *prometheus.Desc) { ch <- m.desc }

func (m heldMetric) Collect(ch chan<- prometheus.Metric) {
	for place, n := range m.r.held() {
		ch <- prometheus.MustNewConstMetric(m.desc, prometheus.GaugeValue, float64(n), place)
	}
}
