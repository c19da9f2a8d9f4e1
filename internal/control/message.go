package control

// Kind is what a message says.
type Kind string

// Between `weft sidecar upgrade` and a sidecar.
const (
	// Upgrade asks the sidecar to give its place to a new process of Binary (empty: the program it was started as).
	Upgrade Kind = "upgrade"
	// Upgraded answers, with the new process's PID and Version, or with Error.
	Upgraded Kind = "upgraded"
)

// Between the process that leaves and the one that takes its place, in this order.
const (
	// TakeOver asks for everything; PID and Version are the new process's.
	TakeOver Kind = "take_over"
	// Socket carries one listening socket, by Name.
	Socket Kind = "socket"
	// Offered ends the list; Keys are those of session tickets, Registered says that the workload is in the catalogue.
	Offered Kind = "offered"
	// Ready says that the new process serves.
	Ready Kind = "ready"
	// Yours says that the old one does not any more.
	Yours Kind = "yours"
)

// Between a sidecar and its supervisor.
const (
	// Start asks for a new process of Binary (empty: the program that is there) that takes over.
	Start Kind = "start"
	// Started answers with PID, or Error.
	Started Kind = "started"
	// Ended tells that it has ended before it took over.
	Ended Kind = "ended"
	// End asks the supervisor to end it.
	End Kind = "end"
	// Done says that it has taken over: from now on it is the sidecar.
	Done Kind = "done"
)

// Message is one packet. Fields that a kind does not name are empty.
type Message struct {
	Kind    Kind   `json:"kind"`
	Binary  string `json:"binary,omitempty"`
	PID     int    `json:"pid,omitempty"`
	Version string `json:"version,omitempty"`
	Name    string `json:"name,omitempty"`
	Keys    []byte `json:"keys,omitempty"`
	Error   string `json:"error,omitempty"`

	Registered bool `json:"registered,omitempty"`
}
