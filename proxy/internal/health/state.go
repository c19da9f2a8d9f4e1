package health

import (
	"math"
	"sync/atomic"
	"time"
)

const (
	// decay is the time in which an old latency loses all but 1/e of its weight.
	decay = 10 * time.Second
	// penalty is the latency that a failure counts as: a fast failing endpoint must look slow, not attractive.
	penalty = time.Second

	ejectFirst = time.Second
	ejectMax   = 30 * time.Second
)

// State is what is known of one endpoint. It is safe for concurrent use, and all of it is atomics.
type State struct {
	start    time.Time // of the registry; stamps count from here
	inflight atomic.Int64
	// latency packs the peak EWMA in microseconds (high half) and the millisecond of its last change (low half), so that
	// both change together. Zero means that nothing has been observed.
	latency atomic.Uint64
	// ejectedUntil in nanoseconds since start; 0: not ejected.
	ejectedUntil atomic.Int64
	failures     atomic.Uint32 // consecutive connect failures
}

// Begin counts a request in.
func (s *State) Begin() { s.inflight.Add(1) }

// End counts a request out.
func (s *State) End() { s.inflight.Add(-1) }

// InFlight is the number of requests now at the endpoint.
func (s *State) InFlight() int64 { return s.inflight.Load() }

// Observe adds a latency. A rise counts at once and in full (peak), a fall only slowly, so that a slow endpoint is left
// early and trusted late.
func (s *State) Observe(latency time.Duration) {
	sample := micros(latency)
	now := s.millis()
	for {
		old := s.latency.Load()
		value := sample
		if old != 0 {
			if peak, weight := fade(old, now); float64(sample) < peak {
				value = uint32(peak*weight + float64(sample)*(1-weight))
			}
		}
		if s.latency.CompareAndSwap(old, uint64(max(value, 1))<<32|uint64(now)) {
			return
		}
	}
}

// Failure adds a failed request.
func (s *State) Failure(latency time.Duration) { s.Observe(max(latency, penalty)) }

// Latency is the peak EWMA, faded by the time since the last observation, so that an endpoint that nobody dares to use is
// tried again some day. It is 0 when nothing has been observed.
func (s *State) Latency() time.Duration {
	packed := s.latency.Load()
	if packed == 0 {
		return 0
	}
	value, weight := fade(packed, s.millis())
	return max(time.Duration(value*weight)*time.Microsecond, time.Microsecond)
}

// Cost is the expected wait for one more request: latency times the requests in line. An endpoint without history costs
// nothing until its first request is out, then a penalty until the first answer is in.
func (s *State) Cost() float64 {
	line := float64(s.InFlight() + 1)
	latency := s.Latency()
	if latency == 0 && line > 1 {
		return float64(penalty) * line
	}
	return float64(latency) * line
}

// ConnectFailed ejects the endpoint for a while that doubles with every failure in a row. Failures during an ejection do not
// count: they belong to the same outage.
func (s *State) ConnectFailed() {
	until := s.ejectedUntil.Load()
	now := int64(time.Since(s.start))
	if until > now {
		return
	}
	back := ejectMax
	if n := s.failures.Load(); n < 5 {
		back = ejectFirst << n
	}
	if s.ejectedUntil.CompareAndSwap(until, now+int64(back)) {
		s.failures.Add(1)
	}
}

// Connected ends an ejection: a connection was made.
func (s *State) Connected() {
	if s.failures.Load() != 0 {
		s.failures.Store(0)
		s.ejectedUntil.Store(0)
	}
}

// Ejected says whether connections failed lately.
func (s *State) Ejected() bool {
	until := s.ejectedUntil.Load()
	return until != 0 && until > int64(time.Since(s.start))
}

// Failures is the number of connect failures in a row that led to ejections.
func (s *State) Failures() uint32 { return s.failures.Load() }

func (s *State) millis() uint32 { return uint32(time.Since(s.start).Milliseconds()) }

func micros(d time.Duration) uint32 {
	return uint32(min(max(d.Microseconds(), 0), math.MaxUint32))
}

// fade unpacks a latency and says how much weight it still has.
func fade(packed uint64, now uint32) (value, weight float64) {
	age := time.Duration(now-uint32(packed)) * time.Millisecond
	return float64(packed >> 32), math.Exp(-float64(age) / float64(decay))
}
