package sim

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Request asks a process of sidecars for one thing.
type Request struct {
	// Op is the thing; the rest is for some of them only.
	Op Op `json:"op"`
	// Sidecars and the address of Discovery, with Init.
	Sidecars  []Sidecar `json:"sidecars,omitempty"`
	Discovery string    `json:"discovery,omitempty"`
	// Tokens are join tokens by account, with Identify.
	Tokens map[string]string `json:"tokens,omitempty"`
	// Rate is registrations or streams a second, or changes a minute.
	Rate int `json:"rate,omitempty"`
	// Distributors are the addresses to spread over, with Connect, Move and Use.
	Distributors []string `json:"distributors,omitempty"`
	// Since is a moment in Unix nanoseconds, with Reached and Recovered.
	Since int64 `json:"since,omitempty"`
	// Policy and Discover are revisions to reach.
	Policy   uint64 `json:"policy,omitempty"`
	Discover uint64 `json:"discover,omitempty"`
	// Names of sidecars: who is to Behave or Relabel, and who does not count with Reached.
	Names     []string  `json:"names,omitempty"`
	Behaviour Behaviour `json:"behaviour,omitempty"`
	// Build labels changes.
	Build string `json:"build,omitempty"`
	// For is how long, with Churn.
	For time.Duration `json:"for,omitempty"`
}

// Op is one thing to do.
type Op string

// Operations. Each is answered when it is done.
const (
	Init      Op = "init"      // makes the sidecars
	Identify  Op = "identify"  // gets their SVIDs
	Register  Op = "register"  // registers all
	Connect   Op = "connect"   // opens all config streams and waits until all are in sync
	Move      Op = "move"      // ends all streams and waits until all are in sync elsewhere
	Use       Op = "use"       // says where to go after the next loss
	Synced    Op = "synced"    // waits until all are in sync
	Behave    Op = "behave"    // changes the behaviour of some
	Mark      Op = "mark"      // begins to count anew
	Reached   Op = "reached"   // who has acknowledged a revision, and when
	Recovered Op = "recovered" // who has lost a stream and is in sync again, and when
	Relabel   Op = "relabel"   // changes one endpoint
	Churn     Op = "churn"     // changes endpoints for some time
	Count     Op = "count"     // what was counted
)

// Reply is the answer to a request.
type Reply struct {
	// Err is why it was not done.
	Err string `json:"err,omitempty"`
	// Seconds that it took.
	Seconds float64 `json:"seconds"`
	// Times in nanoseconds, ascending, with Reached and Recovered.
	Times []int64 `json:"times,omitempty"`
	// At and Revision of the commit, with Relabel.
	At       int64  `json:"at,omitempty"`
	Revision uint64 `json:"revision,omitempty"`
	// Made is the number of commits, with Churn.
	Made int64 `json:"made,omitempty"`
	// Counts by name, with Count.
	Counts map[string]int64 `json:"counts,omitempty"`
	// Replicas: sidecars by replica, with Count.
	Replicas map[string]int64 `json:"replicas,omitempty"`
}

// patience bounds what is waited for: far more than it takes on a machine that has nothing else to do.
const patience = 10 * time.Minute

// Serve answers requests until the input ends, and then ends every stream.
func Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	var f *Fleet
	defer func() {
		cancel()
		if f != nil {
			f.run.Wait()
		}
	}()
	requests := json.NewDecoder(bufio.NewReaderSize(in, 1<<20))
	replies := json.NewEncoder(out)
	for {
		var r Request
		if err := requests.Decode(&r); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read request: %w", err)
		}
		began := time.Now()
		var reply Reply
		var err error
		if r.Op == Init {
			f = newFleet(r.Sidecars, r.Discovery)
		} else {
			err = f.do(ctx, r, &reply)
		}
		if err != nil {
			reply.Err = err.Error()
		}
		reply.Seconds = time.Since(began).Seconds()
		if err := replies.Encode(reply); err != nil {
			return fmt.Errorf("write reply: %w", err)
		}
	}
}

func (f *Fleet) do(ctx context.Context, r Request, out *Reply) (err error) {
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	switch r.Op {
	case Identify:
		return f.identify(wait, r.Tokens)
	case Register:
		return f.register(ctx, wait, r.Rate)
	case Connect:
		return f.connect(ctx, wait, r.Rate, r.Distributors)
	case Move:
		return f.move(wait, r.Rate, r.Distributors)
	case Use:
		f.setDistributors(r.Distributors)
	case Synced:
		return until(wait, f.synced)
	case Behave:
		for _, name := range r.Names {
			if s := f.byName[name]; s != nil {
				s.behave(r.Behaviour)
			}
		}
	case Mark:
		f.mark()
	case Reached:
		out.Times = f.reached(r.Policy, r.Discover, r.Since, r.Names)
	case Recovered:
		out.Times = f.recoveries(r.Since)
	case Relabel:
		a := f.byName[r.Names[0]].relabel(r.Build)
		out.At, out.Revision = a.at.UnixNano(), a.revision.GetSeq()
		return a.err
	case Churn:
		out.Made, err = f.churn(ctx, r.Rate, r.For, r.Build)
		return err
	case Count:
		out.Replicas = f.replicas()
		out.Counts = map[string]int64{
			"updates": f.updates.Load(), "resources": f.resources.Load(), "shards": f.shards.Load(), "heartbeats": f.heartbeats.Load(),
			"registered": f.registered.Load(), "streams_ended": f.streamsEnded.Load(), "registrations_ended": f.leasesEnded.Load(),
		}
	default:
		return fmt.Errorf("no such operation: %q", r.Op)
	}
	return nil
}
