package h2lite

// Path is the method that is called.
const Path = "/bench.Echo/Unary"

const (
	methodPost = 0x83
	schemeHTTP = 0x86
	status200  = 0x88
)

// Request is the block of headers that calls the method.
func Request() *Blocks {
	fields := []Field{{":path", Path}, {":authority", "grpc"}, {"content-type", "application/grpc"}, {"te", "trailers"}, {"user-agent", "weft-bench/1"}}
	return NewBlocks([]byte{methodPost, schemeHTTP}, 0, len(fields), fields...)
}

// Answer gives the blocks before and behind the message of an answer.
func Answer() (headers, trailers *Blocks) {
	return NewBlocks([]byte{status200}, 0, 2, Field{"content-type", "application/grpc"}), NewBlocks(nil, 1, 2, Field{"grpc-status", "0"})
}

// Message adds the prefix of a message of gRPC and the message.
func Message(to, message []byte) []byte {
	n := len(message)
	return append(append(to, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n)), message...)
}
