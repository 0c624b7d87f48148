module github.com/cnode-go/cnode/contrib/websocket

go 1.26.0

require (
	github.com/cnode-go/cnode v0.0.0
	github.com/coder/websocket v1.8.15
	github.com/stretchr/testify v1.12.1
)

replace github.com/cnode-go/cnode => ../..
