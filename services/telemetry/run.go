package telemetry

import "time"

const (
	// maxWindow is the longest window that can be asked for.
	maxWindow = 10 * time.Minute
	// fine is how far back time is known to the second; before that, to coarse.
	fine   = time.Minute
	coarse = 10 * time.Second
	// maxSilence is longer than a connected sidecar is ever silent (10 s). After more of it, what a report adds did not
	// happen just now, and a window must not say so.
	maxSilence = 15 * time.Second
	// thinAt is how many steps an edge may have before old ones are merged: a minute of seconds and nine of coarse steps
	// fit, with room so that merging is rare.
	thinAt = 160
)

// run is what this replica knows of one run of one sidecar's process: counters are cumulative within a run.
type run struct {
	sidecar string
	// start is by the sidecar's own clock; since and last by ours.
	start time.Time
	// since is when this replica began to follow the run without a gap.
	since time.Time
	// last is when it was last heard of.
	last  time.Time
	edges map[edge]*timeline
}

// timeline is one edge's counters, now and back in time.
type timeline struct {
	now counters
	// steps say how much was added when, oldest first.
	steps []step
}

type step struct {
	at    time.Time
	added counters
}

// begin prepares the run for a report that arrives at t.
func (r *run) begin(t time.Time) (following bool) {
	following = !r.last.IsZero() && t.Sub(r.last) <= maxSilence
	if !following {
		r.since = t
		for _, line := range r.edges {
			line.steps = nil
		}
	}
	r.last = t
	return following
}

// report takes an edge's cumulative counters at t; following is what begin said.
func (r *run) report(t time.Time, e edge, c counters, following bool) {
	line := r.edges[e]
	if line == nil {
		line = &timeline{}
		r.edges[e] = line
	}
	next := line.now.with(c, larger)
	next.active = c.active
	if following {
		line.add(t, next.with(line.now, minus))
	}
	line.now = next
}

// add appends what was added at t; steps within one second are one.
func (l *timeline) add(t time.Time, added counters) {
	if added.quiet() {
		return
	}
	if n := len(l.steps); n > 0 && l.steps[n-1].at.Unix() == t.Unix() {
		l.steps[n-1] = step{t, l.steps[n-1].added.with(added, sum)}
		return
	}
	l.steps = append(l.steps, step{t, added})
	if len(l.steps) >= thinAt {
		l.thin(t)
	}
}

// thin forgets steps that no window can reach and merges those that are older than fine into coarse ones. A merged step has
// the time of its newest part, so that a window may begin up to coarse early but never loses anything.
func (l *timeline) thin(now time.Time) {
	kept := l.steps[:0]
	for _, s := range l.steps {
		age := now.Sub(s.at)
		if age > maxWindow+coarse {
			continue
		}
		n := len(kept)
		if age > fine && n > 0 && kept[n-1].at.Truncate(coarse).Equal(s.at.Truncate(coarse)) {
			kept[n-1] = step{s.at, kept[n-1].added.with(s.added, sum)}
			continue
		}
		kept = append(kept, s)
	}
	clear(l.steps[len(kept):])
	l.steps = kept
}

// window gives an edge's counters now and at w. known is false when the run was not followed at w: begin is then what was
// first reported after it.
func (r *run) window(l *timeline, w time.Time) (begin counters, known bool) {
	if !w.After(r.start) {
		return counters{}, true
	}
	begin = l.now
	for i := len(l.steps) - 1; i >= 0 && l.steps[i].at.After(w); i-- {
		begin = begin.with(l.steps[i].added, minus)
	}
	begin.active = 0
	return begin, !w.Before(r.since)
}

// end gives an edge's newest counters. What a run that is silent had open may be closed by now.
func (r *run) end(l *timeline, now time.Time) counters {
	c := l.now
	if now.Sub(r.last) > maxSilence {
		c.active = 0
	}
	return c
}

// silentAt says that the run cannot tell anything about a window that begins at w.
func (r *run) silentAt(w time.Time) bool { return w.Sub(r.last) > maxSilence }
