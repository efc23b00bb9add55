"""A small shop, as a team would write it, and a demo that watches it work.

The service::

    models         what goes over the wire
    store          the SQLite file
    steps          what is done for an order: the tasks, their retries and error handlers
    app            the endpoints, and create_app()
    __main__       python -m examples.shop

The world around it::

    third_parties  payment gateway, e-mail, warehouse, analytics: slow, and failing sometimes
    processes      starting and stopping all of these
    timeline       what the shop's log says, by request
    drawing        the timeline and the summary as lines of text
    stage          the screen: finished orders for good, those under way in motion
    audit          asks the database and the third parties whether all was done, and once only
    demo           make demo
"""
