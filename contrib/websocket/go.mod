module github.com/cnode-go/cnode/contrib/websocket

go 1.26.0

require (
	github.com/cnode-go/cnode v0.0.0
	github.com/coder/websocket v1.8.15
	github.com/stretchr/testify v1.12.1
)

require (
	go.uber.org/goleak v1.3.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/cnode-go/cnode => ../..
