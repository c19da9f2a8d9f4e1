package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// page is what the front end shows of a product.
type page struct {
	Product string `json:"product"`
	Review  review `json:"review"`
	InCart  int64  `json:"in_cart"`
}

// frontend asks reviews over HTTP and the cart over gRPC.
type frontend struct {
	reviews string
	cart    grpc.ClientConnInterface
	client  *http.Client
}

func (f *frontend) product(w http.ResponseWriter, r *http.Request) {
	p := page{Product: r.PathValue("product")}
	if err := fetch(r.Context(), f.client, "http://"+f.reviews+"/reviews/"+p.Product, &p.Review); err != nil {
		writeError(w, err)
		return
	}
	added := &wrapperspb.Int64Value{}
	var header, trailer metadata.MD
	if err := f.cart.Invoke(r.Context(), addMethod, wrapperspb.String(p.Product), added, grpc.Header(&header), grpc.Trailer(&trailer)); err != nil {
		w.Header().Set(upstreamErrorHeader, strings.Join(append(header.Get("weft-error"), trailer.Get("weft-error")...), ", "))
		writeError(w, fmt.Errorf("cart: %w", err))
		return
	}
	p.InCart = added.GetValue()
	writeJSON(w, p)
}

// web serves the front end.
func web(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("web", flag.ContinueOnError)
	listen := fs.String("listen", "127.0.0.1:8080", "address to listen on")
	reviews := fs.String("reviews", "", "address of reviews")
	cart := fs.String("cart", "", "address of the cart")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *reviews == "" || *cart == "" {
		return errors.New("--reviews and --cart are needed")
	}
	conn, err := grpc.NewClient("passthrough:///"+*cart, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("cart %q: %w", *cart, err)
	}
	defer conn.Close()
	f := &frontend{reviews: *reviews, cart: conn, client: newClient()}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /product/{product}", f.product)
	return serveHTTP(ctx, *listen, mux)
}
