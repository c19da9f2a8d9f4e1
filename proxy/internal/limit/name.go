package limit

import "strings"

// Name is one limit, as metrics, errors and settings call it.
type Name uint8

// The limits. Those after the last that is a field of Limits are fixed.
const (
	HeadBytes Name = iota
	HeadFields
	TargetBytes
	HeadTime
	BodyRate
	WriteStall
	Streams
	Resets
	Continuations
	ControlFrames
	Conns
	PeerConns
	ConnBytes
	BufferBytes
	ChunkLine
	Trailers
	Informational
	EmptyFrames
	names
)

// infos say what each limit is about.
var infos = [names]struct{ name, help string }{
	HeadBytes:     {"head_bytes", "bytes of one head, at most 65536"},
	HeadFields:    {"head_fields", "header fields of one head"},
	TargetBytes:   {"target_bytes", "bytes of a request's target"},
	HeadTime:      {"head_time", "how long a head may take to arrive"},
	BodyRate:      {"body_rate", "bytes a second that a body of declared length must bring"},
	WriteStall:    {"write_stall", "how long a peer may take to read what was written to it"},
	Streams:       {"streams", "streams at once on a client's HTTP/2 connection"},
	Resets:        {"resets", "streams a second that a client may cause to be reset"},
	Continuations: {"continuations", "CONTINUATION frames of one header block"},
	ControlFrames: {"control_frames", "control frames of an HTTP/2 peer without a request or body beside them"},
	Conns:         {"conns", "connections that are served at once in each direction"},
	PeerConns:     {"peer_conns", "connections that are served at once from one address"},
	ConnBytes:     {"conn_bytes", "bytes of bodies that may wait for one client's HTTP/2 connection"},
	BufferBytes:   {"buffer_bytes", "bytes that may wait in large buffers, over all connections of a direction"},
	ChunkLine:     {"chunk_line", ""},
	Trailers:      {"trailers", ""},
	Informational: {"informational", ""},
	EmptyFrames:   {"empty_frames", ""},
}

// Names are all limits.
func Names() []Name {
	all := make([]Name, names)
	for i := range all {
		all[i] = Name(i)
	}
	return all
}

// String is the name in metrics.
func (n Name) String() string { return infos[n].name }

// Setting is the flag that sets the limit, without its dashes; empty for one that is fixed.
func (n Name) Setting() string {
	if infos[n].help == "" {
		return ""
	}
	return "limit-" + strings.ReplaceAll(n.String(), "_", "-")
}

// Help says what the limit is about.
func (n Name) Help() string { return infos[n].help }
