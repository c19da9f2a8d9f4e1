package capture

import (
	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// ifnameSize is how long the kernel's interface names are, with their padding.
const ifnameSize = 16

func accept() []expr.Any { return []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}} }

func meta(key expr.MetaKey, op expr.CmpOp, data []byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: data}}
}

func marked(mark uint32) []expr.Any {
	return meta(expr.MetaKeyMARK, expr.CmpOpEq, binaryutil.NativeEndian.PutUint32(mark))
}

func setMark(mark uint32) []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: 1, Data: binaryutil.NativeEndian.PutUint32(mark)},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: 1},
	}
}

func protocol(number byte) []expr.Any {
	return meta(expr.MetaKeyL4PROTO, expr.CmpOpEq, []byte{number})
}

func network(family byte) []expr.Any {
	return meta(expr.MetaKeyNFPROTO, expr.CmpOpEq, []byte{family})
}

func incoming(op expr.CmpOp, name string) []expr.Any {
	return meta(expr.MetaKeyIIFNAME, op, ifname(name))
}

func outgoing(name string) []expr.Any {
	return meta(expr.MetaKeyOIFNAME, expr.CmpOpEq, ifname(name))
}

func ifname(name string) []byte {
	padded := make([]byte, ifnameSize)
	copy(padded, name)
	return padded
}

// destination is the port of TCP or UDP, which begins at the third byte of both.
func destination(port uint16) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(port)},
	}
}

// reply is a packet of a connection that somebody else opened.
func reply() []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeyDIRECTION, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{1}}, // IP_CT_DIR_REPLY
	}
}

// groups are the destinations that mean many: multicast and broadcast. No service of a mesh is one of them.
func groups() [][]expr.Any {
	first := func(family byte, offset, length uint32, mask, want []byte) []expr.Any {
		return append(network(family),
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: length, Mask: mask, Xor: make([]byte, length)},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: want})
	}
	return [][]expr.Any{
		first(unix.NFPROTO_IPV4, 16, 4, []byte{0xf0, 0, 0, 0}, []byte{0xe0, 0, 0, 0}),           // 224.0.0.0/4
		first(unix.NFPROTO_IPV4, 16, 4, []byte{255, 255, 255, 255}, []byte{255, 255, 255, 255}), // 255.255.255.255
		first(unix.NFPROTO_IPV6, 24, 4, []byte{0xff, 0, 0, 0}, []byte{0xff, 0, 0, 0}),           // ff00::/8
	}
}

func redirect(port uint16) []expr.Any {
	return []expr.Any{
		&expr.Counter{},
		&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(port)},
		&expr.Redir{RegisterProtoMin: 1},
	}
}

func tproxy(family byte, port uint16) []expr.Any {
	return []expr.Any{
		&expr.Counter{},
		&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(port)},
		&expr.TProxy{Family: family, TableFamily: byte(nftables.TableFamilyINet), RegPort: 1},
	}
}
