package app

import (
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/integration/bench/loop"
)

// What the first byte of a TCP connection asks for.
const (
	// Echo wants everything back.
	Echo = 'E'
	// Download wants bytes without end: Body(Chunk) again and again.
	Download = 'D'
)

// Chunk is after how many bytes of a download the same come again.
const Chunk = 256 << 10

// stream is a TCP connection.
type stream struct {
	conn *loop.Conn
	bulk []byte
	sent int // position in the bulk
	mode byte
	buf  [4 << 10]byte
}

// Ready echoes what has come, or sends more.
func (s *stream) Ready(events uint32) error {
	if s.handle(events) != nil {
		s.conn.Close()
	}
	return nil
}

func (s *stream) handle(events uint32) error {
	if events&^unix.EPOLLOUT != 0 {
		n, err := s.conn.Read(s.buf[:])
		if err != nil {
			return err
		}
		if s.mode == 0 && n > 0 {
			s.mode = s.buf[0]
			if s.mode == Download {
				return s.conn.Room(true)
			}
		}
		if s.mode == Echo && n > 0 {
			return s.conn.Write(s.buf[:n])
		}
	}
	if events&unix.EPOLLOUT == 0 {
		return nil
	}
	if s.mode != Download {
		return s.conn.Flush()
	}
	n, err := s.conn.Send(s.bulk[s.sent:])
	s.sent = (s.sent + n) % len(s.bulk)
	return err
}
