module github.com/cnode-go/cnode/test/interop

go 1.26.0

replace (
	github.com/cnode-go/cnode => ../../
	github.com/cnode-go/cnode/contrib/front => ../../contrib/front
	github.com/cnode-go/cnode/transport/tsocket => ../../transport/tsocket
)

require (
	github.com/cnode-go/cnode v0.1.0
	github.com/cnode-go/cnode/contrib/front v0.0.0
	github.com/cnode-go/cnode/transport/tsocket v0.0.0
	github.com/ergo-services/ergo v1.999.224
	github.com/stretchr/testify v1.12.1
	golang.org/x/sys v0.49.0
)

require (
	go.uber.org/goleak v1.3.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/net v0.62.0 // indirect
)
