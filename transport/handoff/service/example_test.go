package service_test

import (
	"context"
	"fmt"
	"log"
	"net/http"

	"github.com/cnode-go/cnode/transport/handoff/service"
	"github.com/cnode-go/cnode/transport/handoff/service/web"
)

// A web server that goes on in a new process on SIGHUP, and no client notices.
func Example() {
	s := &service.Service{}
	l, err := s.Listen("tcp", "127.0.0.1:8080")
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") })
	web.Serve(s, &http.Server{}, l)
	if err := s.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
}
