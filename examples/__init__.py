"""Programs that show backstay at work. They are run by ``make demo`` and by the tests."""
