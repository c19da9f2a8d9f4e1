package h2

import "golang.org/x/net/http2/hpack"

// stream is one stream of one connection. Its fields belong to the connection's lock, but for those that say otherwise.
type stream struct {
	conn *conn     // never changes
	id   uint32    // never changes
	x    *exchange // never changes; nil for streams that were refused at once

	// sending
	window      int64   // bytes that the peer lets us send
	pending     []byte  // body bytes that wait for a window or for room
	unpaid      int     // bytes at the head of pending that nobody is to be credited for (a replay)
	source      *stream // where pending comes from; credited as it drains
	endPending  bool    // END_STREAM comes after pending
	trailers    []hpack.HeaderField
	queued      bool // in conn.ready
	localClosed bool // END_STREAM was written
	mark        int64
	moved       int64 // bytes ever taken from pending
	movedThen   int64 // moved at the last look
	stuck       int   // looks since pending last moved, though the peer might have let it

	// receiving
	recv         int32 // bytes that the peer may still send
	owed         int32 // drained, but not yet announced
	held         int   // received, but not yet drained
	remoteClosed bool  // END_STREAM was read
	gone         bool  // no longer in conn.streams

	// reader only
	declared int64 // content-length that remains, -1 when not declared
	informed int   // 1xx responses so far
	answered bool  // the final response's headers were read
}

// writable says whether the next frame may be written as far as the stream is concerned.
func (st *stream) writable() bool {
	if len(st.pending) > 0 {
		return st.window > 0
	}
	return st.endPending
}

// credit is drained bytes of one stream, collected under a lock and given after it.
type credit struct {
	to *stream
	n  int
}

// give tells the senders that their bytes have left. No lock may be held.
func give(credits []credit) {
	for i := range credits {
		if to := credits[i].to; to != nil {
			to.conn.credit(to, credits[i].n)
		}
		credits[i] = credit{}
	}
}
