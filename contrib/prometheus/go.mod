module github.com/cnode-go/cnode/contrib/prometheus

go 1.26.0

require github.com/cnode-go/cnode v0.0.0

require github.com/prometheus/client_golang v1.25.0 // indirect

replace github.com/cnode-go/cnode => ../..
