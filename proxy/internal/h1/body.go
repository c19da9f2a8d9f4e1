package h1

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strconv"
)

// Framing is how a body is delimited.
type Framing uint8

// The framings.
const (
	NoBody Framing = iota
	Sized
	Chunked
	UntilClose
)

const (
	maxChunkLine = 1 << 10
	maxTrailer   = 16 << 10
)

// Body takes the framing off a body, whatever pieces it comes in.
type Body struct {
	// Count is how many bytes of content there were so far.
	Count int64

	framing  Framing
	left     int64 // of the body if Sized, of the chunk if Chunked
	state    chunkState
	trailers fields
}

type chunkState uint8

const (
	inSize chunkState = iota
	inData
	inDataEnd
	inTrailer
	inEnd
)

// Reset makes the body ready for the next message.
func (b *Body) Reset(framing Framing, length int64) {
	*b = Body{framing: framing, trailers: fields{list: b.trailers.list[:0]}}
	switch framing {
	case Sized:
		b.left = length
	case UntilClose:
		b.left = math.MaxInt64
	}
}

// Done says whether the body is complete. One that lasts until the connection closes never is: see End.
func (b *Body) Done() bool {
	switch b.framing {
	case NoBody:
		return true
	case Chunked:
		return b.state == inEnd
	}
	return b.left == 0
}

// End is told that the connection has ended. It returns nil if that completes the body and io.ErrUnexpectedEOF if not.
func (b *Body) End() error {
	if b.framing == UntilClose {
		b.left = 0
	}
	if b.Done() {
		return nil
	}
	return io.ErrUnexpectedEOF
}

// Decode takes what it can from in: data is the next piece of content, a view into in, and used is how much of in is done
// with. Call it until the body is done or nothing was used: then more is needed behind what is there.
func (b *Body) Decode(in []byte) (data []byte, used int, err error) {
	if b.framing != Chunked {
		n := int(min(int64(len(in)), b.left))
		b.left -= int64(n)
		b.Count += int64(n)
		return in[:n], n, nil
	}
	for !b.Done() {
		switch b.state {
		case inData:
			n := int(min(int64(len(in)-used), b.left))
			data = in[used : used+n]
			b.left -= int64(n)
			b.Count += int64(n)
			if b.left == 0 {
				b.state = inDataEnd
			}
			return data, used + n, nil
		default:
			n, err := b.structure(in[used:])
			if n == 0 || err != nil {
				return nil, used, err
			}
			used += n
		}
	}
	return nil, used, nil
}

// structure takes one piece of what is not content; 0 when it is not all there.
func (b *Body) structure(in []byte) (used int, err error) {
	switch b.state {
	case inSize:
		return b.size(in)
	case inDataEnd:
		if len(in) > 0 && in[0] != '\r' || len(in) > 1 && in[1] != '\n' {
			return 0, ErrChunk
		}
		if len(in) < 2 {
			return 0, nil
		}
		b.state = inSize
		return 2, nil
	default:
		return b.trailer(in)
	}
}

// size parses "hex [; extension] CR LF". Extensions end here: nobody may smuggle in what nobody reads.
func (b *Body) size(in []byte) (used int, err error) {
	n := bytes.IndexByte(in[:min(len(in), maxChunkLine)], '\n')
	if n < 0 {
		if len(in) >= maxChunkLine {
			return 0, ErrChunkLine
		}
		return 0, nil
	}
	if n < 2 || in[n-1] != '\r' {
		return 0, ErrChunk
	}
	digits, extension, _ := bytes.Cut(in[:n-1], []byte{';'})
	size, ok := hexadecimal(digits)
	if !ok || !all(extension, valueChar) {
		return 0, ErrChunk
	}
	b.left, b.state = size, inData
	if size == 0 {
		b.state = inTrailer
	}
	return n + 1, nil
}

func hexadecimal(s []byte) (n int64, ok bool) {
	if len(s) == 0 || len(s) > 15 { // 60 bits: no overflow
		return 0, false
	}
	for _, c := range s {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		n = n<<4 | int64(c)
	}
	return n, true
}

func (b *Body) trailer(in []byte) (used int, err error) {
	end, _, err := HeadEnd(in, 0)
	switch {
	case err != nil:
		return 0, ErrTrailer
	case end > maxTrailer, end == 0 && len(in) >= maxTrailer: // callers need not show more at once
		return 0, ErrTrailers
	case end == 0:
		return 0, nil
	}
	b.state = inEnd
	if end == 2 {
		return 2, nil
	}
	// A copy, because the caller may overwrite the buffer before it writes them.
	if err := b.trailers.parse(bytes.Clone(in[:end]), 0); errors.Is(err, ErrFields) {
		return 0, ErrTrailers
	} else if err != nil {
		return 0, ErrTrailer
	}
	return end, nil
}

// AppendChunk writes data as one chunk; nothing for no data, because that would end the body.
func AppendChunk(dst, data []byte) []byte {
	if len(data) == 0 {
		return dst
	}
	dst = strconv.AppendUint(dst, uint64(len(data)), 16)
	dst = append(dst, "\r\n"...)
	dst = append(dst, data...)
	return append(dst, "\r\n"...)
}

// AppendEnd writes the end of a chunked body with the trailer fields that may be passed on.
func (b *Body) AppendEnd(dst []byte) []byte {
	dst = append(dst, "0\r\n"...)
	for i := range b.trailers.list {
		fd := &b.trailers.list[i]
		if fd.id == other && !early(b.trailers.at(fd.name)) {
			dst = append(dst, b.trailers.raw[fd.name.from:fd.end]...)
		}
	}
	return append(dst, "\r\n"...)
}

// early says that a field means something only before the body: routing, authentication and content fields would change the
// message after it was judged.
func early(s []byte) bool {
	for _, lower := range [...]string{"age", "cache-control", "date", "expires", "location", "range", "vary", "warning", "trailer", "www-authenticate"} {
		if fold(s, lower) {
			return true
		}
	}
	return protected(s) || prefixed(s, "if-", hop) != other
}
