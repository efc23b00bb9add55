"""A small shop, as a team would write it, and a demo that watches it work and kills it.

The service::

    models         what goes over the wire
    store          the tables in the SQLite file, and what is written into them
    steps          what is done for an order: durable jobs, their retries and error handlers
    photos         pictures of products, and the durable job that makes thumbnails
    png            as much of that format as a thumbnail takes
    widgets        what AI assistants find at /mcp
    app            the endpoints, and create_app()
    __main__       python -m examples.shop: the web process. The other one is
                   python -m backstay worker examples.shop.app:app

The world around it::

    third_parties  payment gateway, e-mail, warehouse, analytics: slow, and failing sometimes
    processes      starting, killing and stopping all of these
    leash          ends a process with its parent
    assistant      a customer who comes by MCP, with the official client
    timeline       what the processes' logs say, by request
    drawing        the timeline and the summary as lines of text
    stage          the screen: finished orders for good, those under way in motion
    audit          asks the database and the third parties whether all was done, and once only
    demo           make demo
"""
