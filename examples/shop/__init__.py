r"""A small shop, as a team would write it, and a demo that watches it work and kills it.

The service::

    models         what goes over the wire
    store          the tables in the SQLite file, and what is written into them
    order_keys     with which guests follow their orders
    premises       what the lifespan opens, and how endpoints and jobs get at it
    identity       who is asking
    views          products, customers and orders: who sees which of them
    steps          what is done for an order: durable jobs, their retries and error handlers
    patience       when these are tried again, when they wait, and when patience is at an end
    integrations   what is asked of the third parties, and how their failures are borne:
                   payment_gateway, mail, parcel_service, analytics, and circuits of them all
    accounts       signing up, logging in, and the admin of the settings
    orders         placing an order, and following it
    warehouse      for the warehouse's machines
    keys           python -m examples.shop.keys: the API keys of these
    photos         pictures of products, and the durable job that makes thumbnails
    png            as much of that format as a thumbnail takes
    widgets        what AI assistants find at /mcp
    app            create_app(): all of that, wired together
    __main__       python -m examples.shop: the web process. The other one is
                   python -m backstay worker examples.shop.app:app

The world around it::

    third_parties  payment gateway, e-mail, warehouse, analytics: slow, and failing sometimes
    processes      starting, killing and stopping all of these
    leash          ends a process with its parent
    assistant      a customer who comes by MCP, with the official client
    timeline       what the processes' logs say, by request, and when circuits were open
    drawing        the timeline and the summary as lines of text
    stage          the screen: finished orders for good, those under way in motion
    audit          asks the database and the third parties whether all was done, and once only
    demo           make demo

Doors and locks
---------------

``make demo`` leaves the shop up at port 8000; everybody may look at products and place orders there.
A guest gets a key with the order, and sees it again with that::

    curl -s localhost:8000/orders -H 'Content-Type: application/json' -d '{"card": "tok_visa",
      "email": "grace@example.com", "items": [{"sku": "cup", "quantity": 2}]}'
    curl -s localhost:8000/orders/13 -H 'X-Order-Key: …'

Sign up and log in; orders are then the account's own, and listed::

    curl -s localhost:8000/accounts -H 'Content-Type: application/json' \
      -d '{"email": "grace@example.com", "password": "four words or more"}'
    curl -s localhost:8000/token -d username=grace@example.com \
      --data-urlencode 'password=four words or more'
    curl -s localhost:8000/orders -H 'Authorization: Bearer …'
    curl -s -X POST localhost:8000/logout/everywhere -H 'Authorization: Bearer …'

The admin, who sees all orders and the customers, is named by the settings::

    ADMIN_EMAIL=admin@example.com ADMIN_PASSWORD='five words that nobody guesses' make demo

The warehouse's machines have keys. The demo says where its file is::

    DATABASE=… python -m examples.shop.keys create "gate 2" --scope warehouse
    curl -s localhost:8000/warehouse/orders -H 'X-API-Key: bsk_…'
    curl -s localhost:8000/warehouse/stock/cup -H 'X-API-Key: bsk_…' \
      -H 'Content-Type: application/json' -d '{"number": "DN-1", "quantity": 24}'
    DATABASE=… python -m examples.shop.keys revoke ID

And for whoever runs it: ``/livez``, ``/readyz``, ``/metrics``, and ``/docintegration``, which says
what the shop asks of whom and how that goes. It is for admins, unless ``OPEN_DOCS=1``, as in the demo.

When a third party is down
--------------------------

Any of them has an outage when it is told so; the demo freezes the payment gateway instead::

    python -m examples.shop.third_parties payment --port 9001
    curl -X POST localhost:9001/down
    curl -X POST localhost:9001/up

After a few failures its circuit opens, and nobody asks it any more. Orders are taken, and wait as
durable jobs, whose attempts are for calls that are made. One call a while tries; when that is
answered, all go on. Whoever has waited for ``WAIT_S`` seconds, 15 minutes unless that says otherwise,
is told that no payment came through.
"""
