package limit

import "sync/atomic"

// Guard is limits that count who went over them. Make one with New; it is safe for use by many goroutines.
type Guard struct {
	Limits

	refused [names]atomic.Uint64
}

// New makes a guard of limits; zero fields take their default.
func New(l Limits) *Guard { return &Guard{Limits: l.WithDefaults()} }

// Refuse counts that something went over a limit and returns the error that says so.
func (g *Guard) Refuse(name Name) error {
	g.Count(name)
	return g.Exceeded(name)
}

// Count is Refuse where nobody is to be told.
func (g *Guard) Count(name Name) { g.refused[name].Add(1) }

// Exceeded is the error of what has been counted already.
func (g *Guard) Exceeded(name Name) error { return &Exceeded{Name: name, Max: g.text(name)} }

// Refused is how often something went over a limit.
func (g *Guard) Refused(name Name) uint64 { return g.refused[name].Load() }

// Exceeded is the error of what went over a limit.
type Exceeded struct {
	Name Name
	// Max is the limit's value; empty for one that is fixed.
	Max string
}

// Error names the limit and its setting.
func (e *Exceeded) Error() string {
	if e.Max == "" {
		return "over the limit " + e.Name.String() + ", which is fixed"
	}
	return "over the limit " + e.Name.String() + " of " + e.Max + ": see weft-proxy --" + e.Name.Setting()
}
