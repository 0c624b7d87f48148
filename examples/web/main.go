// Command web is a web server that goes on in a new process on SIGHUP, with the program that is
// there then. No client notices: docs/operate/upgrade-a-service.md.
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/cnode-go/cnode/transport/handoff/service"
	"github.com/cnode-go/cnode/transport/handoff/service/web"
)

func main() {
	s := &service.Service{Control: os.Getenv("CONTROL"), InPlace: os.Getpid() == 1}
	l, err := s.Listen("tcp", cmp.Or(os.Getenv("LISTEN"), "127.0.0.1:8080"))
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello from process", os.Getpid()) })
	web.Serve(s, &http.Server{}, l)
	s.OnReady = func() { fmt.Println("ready", l.Addr(), os.Getpid()) }
	if err := s.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
}
