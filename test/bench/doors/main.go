// Command doors is the program behind each way from a BEAM to Go. It gives back what it gets: as a
// child (package child), or as a port that speaks packets of 4 bytes' length, or lines of JSON, the
// way that people write these.
//
//	doors [port|json]
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"io"
	"log"
	"os"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/child"
)

const buffer = 256 << 10

func main() {
	way := ""
	if len(os.Args) > 1 {
		way = os.Args[1]
	}
	var err error
	switch way {
	case "port":
		err = port(bufio.NewReaderSize(os.Stdin, buffer), bufio.NewWriterSize(os.Stdout, buffer))
	case "json":
		err = lines(bufio.NewReaderSize(os.Stdin, buffer), json.NewEncoder(os.Stdout))
	default:
		child.Main(func(n *nodes.Node) error {
			n.Expose("doors", "echo", nodes.FuncOf(func(b []byte) []byte { return b }))
			return nil
		})
	}
	if err != nil && err != io.EOF {
		log.Fatal(err)
	}
}

// port answers {Id, Binary} in order.
func port(in *bufio.Reader, out *bufio.Writer) error {
	for {
		var length [4]byte
		if _, err := io.ReadFull(in, length[:]); err != nil {
			return err
		}
		body := make([]byte, binary.BigEndian.Uint32(length[:]))
		if _, err := io.ReadFull(in, body); err != nil {
			return err
		}
		var request ei.Tuple
		if err := ei.Unmarshal(body, &request); err != nil {
			return err
		}
		answer, err := ei.Marshal(request)
		if err != nil {
			return err
		}
		binary.BigEndian.PutUint32(length[:], uint32(len(answer)))
		_, _ = out.Write(length[:]) // Flush says what is wrong
		_, _ = out.Write(answer)
		if in.Buffered() == 0 {
			if err := out.Flush(); err != nil {
				return err
			}
		}
	}
}

// lines answers {"id": …, "data": base64}.
func lines(in *bufio.Reader, out *json.Encoder) error {
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return err
		}
		var message struct {
			ID   int64  `json:"id"`
			Data []byte `json:"data"`
		}
		if err := json.Unmarshal(line, &message); err != nil {
			return err
		}
		if err := out.Encode(message); err != nil {
			return err
		}
	}
}
