package datagram

import "net"

// listen opens a Socket at an address.
func listen(address string) (*Socket, error) {
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		return nil, err
	}
	return On(conn)
}
