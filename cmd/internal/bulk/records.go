package bulk

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
)

// maxRecord bounds a record in bytes. The longest that the contract allows has some 6,000 characters, of which each may be
// an escape of six.
const maxRecord = 64 << 10

// shown is how much is kept of a record that is longer than that, in bytes.
const shown = 200

// record is one line of a file, or several where a field of CSV has line ends in it.
type record struct {
	// text is without the line end. It is good until the next record is read.
	text []byte
	// line is the number of its first line, from 1.
	line int
	// long says that it is over maxRecord, and text only its beginning.
	long bool
}

// records takes a stream apart in bounded memory. Records without text are passed over.
type records struct {
	scanner *bufio.Scanner
	csv     bool

	offset int64  // in the stream, behind the last record
	lines  int    // before the offset
	begin  int    // lines before the record
	head   []byte // the beginning of a record over the limit, whose rest has still to go by
	long   bool   // the record that was found last is one
}

// newRecords starts at the offset of a record, with so many lines before it.
func newRecords(r io.Reader, f Format, offset int64, lines int) *records {
	rs := &records{scanner: bufio.NewScanner(r), csv: f == CSV, offset: offset, lines: lines}
	rs.scanner.Buffer(make([]byte, maxRecord), 2*maxRecord)
	rs.scanner.Split(rs.split)
	return rs
}

// next gives the next record, or io.EOF.
func (rs *records) next() (record, error) {
	for rs.scanner.Scan() {
		text := bytes.TrimSuffix(bytes.TrimSuffix(rs.scanner.Bytes(), []byte("\n")), []byte("\r"))
		if len(bytes.TrimSpace(text)) > 0 {
			return record{text, rs.begin + 1, rs.long}, nil
		}
	}
	if err := rs.scanner.Err(); err != nil {
		return record{}, fmt.Errorf("read behind line %d: %w", rs.lines, err)
	}
	return record{}, io.EOF
}

// split is a bufio.SplitFunc. It asks for more until there is a whole record, or more than a record may have.
func (rs *records) split(data []byte, atEOF bool) (int, []byte, error) {
	if rs.head != nil {
		return rs.skip(data, atEOF)
	}
	if len(data) == 0 {
		return 0, nil, nil
	}
	rs.begin, rs.long = rs.lines, false
	n := lineEnd(data)
	if rs.csv {
		n = csvEnd(data, atEOF)
	}
	if n < 0 && !atEOF && len(data) <= maxRecord {
		return 0, nil, nil
	}
	if n < 0 || n > maxRecord {
		// Where there are several lines a quote is not closed, and the first line is the one that is wrong.
		n = lineEnd(data)
	}
	if n < 0 && len(data) <= maxRecord {
		n = len(data) // the last line of the stream, without a line end
	}
	if n < 0 || n > maxRecord {
		rs.head = bytes.Clone(data[:shown])
		return rs.skip(data, atEOF)
	}
	rs.pass(data[:n])
	return n, data[:n], nil
}

// skip passes over the rest of a record that is too long, and gives its beginning when that has gone by.
func (rs *records) skip(data []byte, atEOF bool) (int, []byte, error) {
	n := lineEnd(data)
	if n < 0 {
		n = len(data)
	}
	rs.pass(data[:n])
	if n == 0 && atEOF || n > 0 && data[n-1] == '\n' {
		token := rs.head
		rs.head, rs.long = nil, true
		return n, token, nil
	}
	return n, nil, nil
}

func (rs *records) pass(data []byte) {
	rs.offset += int64(len(data))
	rs.lines += bytes.Count(data, []byte("\n"))
}
