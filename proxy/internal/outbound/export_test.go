package outbound

// Draining says that the server accepts no more connections. For tests: to dial until that fails would find whoever gets the
// port next.
func (s *Server) Draining() bool { return s.loop.Draining() }
