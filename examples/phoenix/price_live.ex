# A page that Go pushes to. In the router: live "/prices", PriceLive
defmodule MyAppWeb.PriceLive do
  use MyAppWeb, :live_view

  @impl true
  def mount(_params, _session, socket) do
    # once the browser's socket is there, not for the static page before
    if connected?(socket), do: Phoenix.PubSub.subscribe(MyApp.PubSub, "prices")
    {:ok, assign(socket, prices: %{})}
  end

  # ps.Broadcast(ctx, "prices", ei.T("price", Price{"pear", 45}))
  @impl true
  def handle_info({:price, %{item: item, cents: cents}}, socket) do
    {:noreply, update(socket, :prices, &Map.put(&1, item, cents))}
  end

  @impl true
  def render(assigns) do
    ~H"""
    <ul id="prices">
      <li :for={{item, cents} <- @prices}>{item}: {cents}</li>
    </ul>
    """
  end
end
