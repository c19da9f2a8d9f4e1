package h1

import "errors"

// The ways in which a message can be wrong. All but the last three are for status 400.
var (
	ErrLineEnd    = errors.New("a line does not end in CR LF")
	ErrStartLine  = errors.New("the first line is malformed")
	ErrVersion    = errors.New("the version is not HTTP/1.0 or HTTP/1.1")
	ErrField      = errors.New("a header field is malformed")
	ErrFold       = errors.New("a header field is folded")
	ErrHost       = errors.New("the host is missing, malformed or given twice")
	ErrTarget     = errors.New("the request target is malformed or ambiguous")
	ErrLength     = errors.New("the content length is malformed or contradictory")
	ErrEncoding   = errors.New("the transfer encoding is not exactly chunked")
	ErrSmuggling  = errors.New("content length and transfer encoding are both given")
	ErrChunk      = errors.New("a chunk is malformed")
	ErrChunkLine  = errors.New("the line before a chunk is too long")
	ErrTrailer    = errors.New("the trailer section is malformed")
	ErrTrailers   = errors.New("the trailer section is too large")
	ErrHeadSize   = errors.New("the head is too large")
	ErrFields     = errors.New("the head has too many fields")
	ErrTargetSize = errors.New("the request target is too long")
)
