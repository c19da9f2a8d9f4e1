package subscribe

import (
	"maps"
	"slices"
	"time"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/proxy/internal/uplink"
)

// Status is what is known of the configuration, for people and metrics.
type Status struct {
	// Link to the distributor.
	Link uplink.Status
	// Current says that the distributor has sent everything on this stream.
	Current bool
	// Confirmed is when the distributor last said that all is as it should be; zero: never.
	Confirmed time.Time
	// Sequence of the current table.
	Sequence uint64
	// Updates applied since the start, and streams reopened because digests differed.
	Updates, Reopened uint64
	// Services that are wanted.
	Services []string
	// Vector that was applied.
	Vector *typepb.RevisionVector
	// Resources that are held; not to be changed.
	Resources []*configpb.Resource
	// Refused lists what is refused now.
	Refused []*configpb.Nack
	// IndexSize is the number of services of the mesh.
	IndexSize int
}

// Status returns what is known now.
func (c *Client) Status() Status {
	link := c.deps.Link.Status()
	c.mu.Lock()
	defer c.mu.Unlock()
	return Status{
		Link:      link,
		Current:   c.stats.current,
		Confirmed: c.stats.confirmed,
		Sequence:  c.sequence,
		Updates:   c.stats.updates,
		Reopened:  c.stats.reopened,
		Services:  slices.Sorted(maps.Keys(c.wanted)),
		Vector:    c.state.Vector(),
		Resources: c.state.Resources(),
		Refused:   c.state.Refused(),
		IndexSize: c.state.IndexLen(),
	}
}
