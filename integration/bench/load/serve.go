package load

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"
)

// Serve makes one load after the other, as it is told, until there is nothing more to read.
func Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	held := &runner{}
	defer func() { held.release() }()
	for requests, answers := json.NewDecoder(in), json.NewEncoder(out); ctx.Err() == nil; {
		var s Spec
		if err := requests.Decode(&s); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		held.release()
		held = &runner{}
		var result Result
		var err error
		if s.Kind == Idle {
			held, result, err = hold(s)
		} else {
			result, err = Run(s)
		}
		if err != nil {
			result = Result{Err: err.Error()}
		}
		if err := answers.Encode(result); err != nil {
			return err
		}
	}
	return nil
}

// hold opens connections, has each make one request, one after the other, and leaves them open.
func hold(s Spec) (*runner, Result, error) {
	r, err := start(s)
	if err != nil {
		return r, Result{}, err
	}
	r.meter.measuring = true
	for range s.Conns {
		c, err := r.connect()
		if err != nil {
			return r, Result{}, err
		}
		r.clients = append(r.clients, c)
		for want, end := float64(len(r.clients)), time.Now().Add(10*time.Second); r.meter.done < want; {
			if time.Now().After(end) {
				return r, Result{}, errors.New("an idle connection's request was not answered")
			}
			if err := r.loop.Turn(100); err != nil {
				return r, Result{}, err
			}
		}
	}
	return r, r.meter.result(0, nil), nil
}

func (r *runner) release() {
	if r != nil && r.loop != nil {
		r.stop()
	}
}
