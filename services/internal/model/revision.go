package model

import "fmt"

// Source numbers its own changes; numbered as on the wire.
type Source uint8

// The sources.
const (
	SourcePolicy    Source = 1
	SourceDiscovery Source = 2
	SourceIdentity  Source = 3
)

// Revision is one point in one source's history.
type Revision struct {
	Source Source
	Epoch  string
	Seq    uint64
}

// String is "policy@42".
func (r Revision) String() string {
	return fmt.Sprintf("%s@%d", map[Source]string{SourcePolicy: "policy", SourceDiscovery: "discovery", SourceIdentity: "identity"}[r.Source], r.Seq)
}

// Reaches says whether r is at or after o. A revision of another epoch reaches nothing.
func (r Revision) Reaches(o Revision) bool {
	return r.Source == o.Source && r.Epoch == o.Epoch && r.Seq >= o.Seq
}

// Vector is the state of a consumer of several sources; it is comparable. An empty Epoch means: nothing seen.
type Vector struct {
	Policy    Revision
	Discovery Revision
	Identity  Revision
}

// With returns v with one source's revision replaced.
func (v Vector) With(r Revision) Vector {
	switch r.Source {
	case SourcePolicy:
		v.Policy = r
	case SourceDiscovery:
		v.Discovery = r
	case SourceIdentity:
		v.Identity = r
	}
	return v
}

// Revisions lists what has been seen, in order of source.
func (v Vector) Revisions() []Revision {
	var out []Revision
	for _, r := range []Revision{v.Policy, v.Discovery, v.Identity} {
		if r.Epoch != "" {
			out = append(out, r)
		}
	}
	return out
}

// Reaches says whether every source that o has seen is at or after o's revision.
func (v Vector) Reaches(o Vector) bool {
	for _, pair := range [][2]Revision{{v.Policy, o.Policy}, {v.Discovery, o.Discovery}, {v.Identity, o.Identity}} {
		if pair[1].Epoch != "" && !pair[0].Reaches(pair[1]) {
			return false
		}
	}
	return true
}

// Behind says whether v is older than o in some source whose epoch both know. Unlike !Reaches it is false for sources of
// different epochs, which cannot be compared.
func (v Vector) Behind(o Vector) bool {
	for _, pair := range [][2]Revision{{v.Policy, o.Policy}, {v.Discovery, o.Discovery}, {v.Identity, o.Identity}} {
		if pair[0].Epoch == pair[1].Epoch && pair[0].Seq < pair[1].Seq {
			return true
		}
	}
	return false
}
