package limit

import (
	"errors"
	"fmt"
	"time"
)

const (
	// largestHead is what the engine's largest buffer holds.
	largestHead = 64 << 10
	kib         = 1 << 10
	mib         = 1 << 20
)

// Limits bound what peers can cost a sidecar. Zero fields take their default: see Default.
type Limits struct {
	// HeadBytes and HeadFields of one head, TargetBytes of a request's target.
	HeadBytes, HeadFields, TargetBytes int
	// HeadTime is how long a head may take to arrive, from its first byte.
	HeadTime time.Duration
	// BodyRate is how many bytes a second must come of a request's body whose length was declared, over RateWindow of waiting.
	BodyRate int
	// WriteStall is how long a peer may take to read what was written to it at once: 64 KB at most.
	WriteStall time.Duration
	// Streams at once on a client's HTTP/2 connection.
	Streams int
	// Resets of streams a second that a client may cause, after a burst of ten times as many.
	Resets int
	// Continuations are the CONTINUATION frames of one header block.
	Continuations int
	// ControlFrames that a peer may send without any request or body beside them, and that may wait to be written to it.
	ControlFrames int
	// Conns that are served at once, PeerConns of them from one address.
	Conns, PeerConns int
	// ConnBytes of bodies that may wait in the sidecar for one client's connection, BufferBytes for all together.
	ConnBytes, BufferBytes int
}

// RateWindow is over how much waiting BodyRate is judged.
const RateWindow = 20 * time.Second

// Default is what a sidecar has unless it is told otherwise.
func Default() Limits {
	return Limits{
		HeadBytes: largestHead, HeadFields: 256, TargetBytes: 16 * kib, HeadTime: 10 * time.Second, BodyRate: 100,
		WriteStall: time.Minute, Streams: 1000, Resets: 100, Continuations: 64, ControlFrames: 10_000,
		Conns: 10_000, PeerConns: 5000, ConnBytes: 4 * mib, BufferBytes: 256 * mib,
	}
}

// numbers lists the fields that are counts, with what a setting may be.
func (l *Limits) numbers() []number {
	return []number{
		{HeadBytes, &l.HeadBytes, 1 * kib, largestHead},
		{HeadFields, &l.HeadFields, 16, 4096},
		{TargetBytes, &l.TargetBytes, 256, largestHead - 4*kib},
		{BodyRate, &l.BodyRate, 1, mib},
		{Streams, &l.Streams, 1, 1 << 20},
		{Resets, &l.Resets, 1, 1 << 20},
		{Continuations, &l.Continuations, 1, 1 << 20},
		{ControlFrames, &l.ControlFrames, 1000, 1 << 20},
		{Conns, &l.Conns, 1, 1 << 20},
		{PeerConns, &l.PeerConns, 1, 1 << 20},
		{ConnBytes, &l.ConnBytes, 64 * kib, 1 << 30},
		{BufferBytes, &l.BufferBytes, 1 * mib, 1 << 40},
	}
}

// number is one limit that is a count.
type number struct {
	name     Name
	value    *int
	min, max int
}

// durations lists the fields that are times.
func (l *Limits) durations() []span {
	return []span{{HeadTime, &l.HeadTime}, {WriteStall, &l.WriteStall}}
}

// span is one limit that is a time.
type span struct {
	name  Name
	value *time.Duration
}

// WithDefaults fills what is zero.
func (l Limits) WithDefaults() Limits {
	d := Default()
	for i, n := range l.numbers() {
		if *n.value == 0 {
			*n.value = *d.numbers()[i].value
		}
	}
	for i, s := range l.durations() {
		if *s.value == 0 {
			*s.value = *d.durations()[i].value
		}
	}
	return l
}

// Validate reports every limit that is not possible.
func (l Limits) Validate() error {
	var errs []error
	for _, n := range l.numbers() {
		if *n.value < n.min || *n.value > n.max {
			errs = append(errs, fmt.Errorf("%s: %d is not from %d to %d", n.name.Setting(), *n.value, n.min, n.max))
		}
	}
	for _, s := range l.durations() {
		if *s.value < time.Second || *s.value > 24*time.Hour {
			errs = append(errs, fmt.Errorf("%s: %v is not from 1s to 24h", s.name.Setting(), *s.value))
		}
	}
	return errors.Join(errs...)
}

// Each calls number or duration with every limit that can be set, its setting, its help and where its value is.
func (l *Limits) Each(number func(n Name, value *int), duration func(n Name, value *time.Duration)) {
	for _, n := range l.numbers() {
		number(n.name, n.value)
	}
	for _, s := range l.durations() {
		duration(s.name, s.value)
	}
}

// text is a limit's value for people; empty for one that cannot be set.
func (l *Limits) text(name Name) string {
	for _, n := range l.numbers() {
		if n.name == name {
			return fmt.Sprint(*n.value)
		}
	}
	for _, s := range l.durations() {
		if s.name == name {
			return s.value.String()
		}
	}
	return ""
}
