package h2lite

// Field is a header.
type Field struct{ Name, Value string }

// firstDynamic is the number of the newest entry of a table of headers.
const firstDynamic = 62

// Blocks writes the same headers over and over, as an encoder with a table does: in full the first time, then by number. To a
// peer that keeps no table they are written in full each time. One for each direction of a connection.
type Blocks struct {
	fixed  []byte  // entries of the static table, by number
	fields []Field // put into the dynamic table in this order
	first  int     // entries before this are of an earlier block
	total  int     // entries of all blocks of the connection
	sent   bool
}

// NewBlocks makes a writer of one block. before and all say how many fields the connection's earlier blocks put into the table,
// and how many all of its blocks do.
func NewBlocks(fixed []byte, before, all int, fields ...Field) *Blocks {
	return &Blocks{fixed: fixed, fields: fields, first: before, total: all}
}

// Append adds the block. A block with entries of the static table only comes first, since it may have to end the table.
func (b *Blocks) Append(to []byte, literal bool) []byte {
	first := !b.sent
	b.sent = true
	if literal && first && b.first == 0 {
		to = append(to, 0x20) // the table has no room from now on
	}
	to = append(to, b.fixed...)
	for i, f := range b.fields {
		switch {
		case literal:
			to = text(text(append(to, 0x00), f.Name), f.Value)
		case first:
			to = text(text(append(to, 0x40), f.Name), f.Value)
		default:
			to = append(to, 0x80|byte(firstDynamic+b.total-1-b.first-i))
		}
	}
	return to
}

// text adds a string of fewer than 127 bytes, not compressed.
func text(to []byte, s string) []byte { return append(append(to, byte(len(s))), s...) }
