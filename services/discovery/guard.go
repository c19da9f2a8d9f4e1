package discovery

import (
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/services/internal/model"
)

// suddenLosses is how many workloads must be gone at once before a loss is doubted: one of one, or one of two, happens every
// day when a single program crashes, and hiding that would be worse than believing it.
const suddenLosses = 2

// loss is what has gone of a service without being deregistered.
type loss struct {
	lost, total int
}

// sudden says whether the loss is not to be believed: over half of the service, and at least two workloads. Far more often
// than that many programs, it is a network or a part of the control plane that has failed.
func (l loss) sudden() bool { return l.lost >= suddenLosses && 2*l.lost > l.total }

// guard counts for each service what it has lost lately: workloads without a stream, due or not, and those that any replica
// has marked within the last lease and reconnect time. Deregistered workloads do not count, because they are not there.
func (l *leases) guard(all []model.Workload, now time.Time) map[model.Key]loss {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[model.Key]loss{}
	for i := range all {
		w := &all[i]
		_, suspect := l.suspects[w.Key]
		marked := w.State == model.WorkloadUnknown
		if marked && (w.LeaseHolder == "" || now.Sub(w.UpdateTime) > l.patience()) {
			continue // an old loss, no longer a part of what the service is
		}
		for _, ref := range w.References() {
			sum := out[ref.Key]
			sum.total++
			if suspect || marked {
				sum.lost++
			}
			out[ref.Key] = sum
		}
	}
	return out
}

// alarm says whether a workload's expiry is held, and tells people once for each service.
func (l *leases) alarm(w *model.Workload, losses map[model.Key]loss) bool {
	held := false
	for _, ref := range w.References() {
		sum := losses[ref.Key]
		if !sum.sudden() {
			continue
		}
		held = true
		if !l.held[ref.Key] {
			l.held[ref.Key] = true
			l.server.deps.Log.Error("most of a service went without deregistering; keeping its workloads ready until they return or are removed",
				zap.Stringer("service", ref.Key), zap.Int("lost", sum.lost), zap.Int("total", sum.total))
		}
	}
	return held
}

// calm ends the alarm of services that are whole enough again.
func (l *leases) calm(losses map[model.Key]loss) {
	for service := range l.held {
		if !losses[service].sudden() {
			delete(l.held, service)
			l.server.deps.Log.Info("service is back, its leases run again", zap.Stringer("service", service))
		}
	}
}
